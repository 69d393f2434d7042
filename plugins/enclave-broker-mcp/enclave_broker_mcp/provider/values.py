"""Texts with places for secrets, which are looked up when the text is used."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from pydantic import SecretStr

from enclave_broker_core.redaction import Redactor

AskSecret = Callable[[str], Awaitable[str]]
"""The value of a secret by its name, as it is now."""

_PLACE = re.compile(r"\{secret:(?P<name>[^\s{}]+)\}")


async def revealed(value: SecretStr, ask: AskSecret, redactor: Redactor) -> str:
    """The text with its secrets in their places; all of it is for nobody's eyes from now on.

    SecretError when no source knows a name.
    """
    text = value.get_secret_value()
    for name in dict.fromkeys(_PLACE.findall(text)):
        found = await ask(name)
        redactor.add(found, name)
        text = text.replace(f"{{secret:{name}}}", found)
    redactor.add(text)
    return text
