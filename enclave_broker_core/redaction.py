"""Blots the values of secrets out of texts, wherever they surface."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json, to_json

from .secret_forms import any_of, forms

SHORTEST = 8
BLOT = "[secret]"

# How many values of one secret, and of those without a name, are blotted out: the newest.
KEPT = 16
KEPT_UNNAMED = 1000


class Redactor:
    """Knows the values that were handed out and replaces them by ``[secret]``.

    Values of fewer than eight characters are left: blotting them out would garble
    ordinary text. A value is found as it is, as JSON or Python writes it, percent-encoded
    and in base64.
    """

    def __init__(self) -> None:
        self.active = False  # whether there is anything to blot out; asked on the hot path
        self._values: dict[str, dict[str, None]] = {}  # by the secret's name, the newest last
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str, name: str = "") -> None:
        """Blot ``value`` out from now on.

        It is the newest of the secret ``name``; older ones are blotted out too, the last
        sixteen. Of values without a name the last thousand are.
        """
        if len(value) < SHORTEST:
            return
        values = self._values.setdefault(name, {})
        if value in values:
            values[value] = values.pop(value)
            return
        values[value] = None
        if len(values) > (KEPT if name else KEPT_UNNAMED):
            del values[next(iter(values))]
        self.active = True
        self._pattern = None

    def _compiled(self) -> re.Pattern[str] | None:
        """The pattern of all values; it is made when it is needed, not for each value."""
        if self._pattern is None and self._values:
            every = {value for values in self._values.values() for value in values}
            self._pattern = any_of(form for value in every for form in forms(value))
        return self._pattern

    def text(self, text: str) -> str:
        pattern = self._pattern or self._compiled()
        return text if pattern is None else pattern.sub(BLOT, text)

    def json(self, text: bytes) -> bytes:
        """JSON text with the values blotted out; it stays JSON.

        Also in the names of its objects and in numbers; what holds a value only as a
        whole, as its own JSON text, is blotted out as a whole.
        """
        pattern = self._pattern or self._compiled()
        if pattern is None:
            return text
        plain = text.decode()
        # Whoever wrote the text may have escaped more than this program does.
        if pattern.search(plain) is None and "\\u" not in plain and "\\/" not in plain:
            return text
        value = _each(from_json(text), pattern)
        text = to_json(value)
        if pattern.search(text.decode()) is not None:
            whole = _whole(value, pattern)
            # Arguments are an object, whatever was in them.
            text = to_json({BLOT: BLOT} if whole == BLOT and isinstance(value, dict) else whole)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value with the secrets blotted out; the value itself when there are none."""
        text = to_json(value)
        blotted = self.json(text)
        return value if blotted is text else from_json(blotted)


class LayeredRedactor(Redactor):
    """Blots out values of its own, and then all that another one knows."""

    def __init__(self, base: Redactor) -> None:
        super().__init__()
        self._base = base
        self.active = True

    def text(self, text: str) -> str:
        return self._base.text(super().text(text))

    def json(self, text: bytes) -> bytes:
        return self._base.json(super().json(text))


def _each(value: Any, pattern: re.Pattern[str]) -> Any:
    """With every text and every number blotted out that holds a secret."""
    if isinstance(value, str):
        return pattern.sub(BLOT, value)
    if isinstance(value, dict):
        return {pattern.sub(BLOT, key): _each(item, pattern) for key, item in value.items()}
    if isinstance(value, list):
        return [_each(item, pattern) for item in value]
    if isinstance(value, int | float) and pattern.search(to_json(value).decode()):
        return BLOT
    return value


def _whole(value: Any, pattern: re.Pattern[str]) -> Any:
    """With every list and object blotted out whose JSON text holds a secret."""
    if isinstance(value, dict):
        value = {key: _whole(item, pattern) for key, item in value.items()}
    elif isinstance(value, list):
        value = [_whole(item, pattern) for item in value]
    else:
        return value
    return BLOT if pattern.search(to_json(value).decode()) else value
