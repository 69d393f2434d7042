"""What of an answer is a tool's result."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from enclave_broker_network.messages import OutboundResponse

from enclave_broker_core.errors import ToolError
from enclave_broker_core.json_form import NotJsonError, parse

As = Literal["auto", "json", "text", "bytes"]

BEHIND = 1_000_000_000
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_TEXTS = frozenset({"application/xml", "application/javascript", "application/yaml"})

Selector = Callable[[OutboundResponse], Any]


def selector(said: str, read_as: As = "auto") -> Selector:
    """What ``body``, ``body/a/0``, ``header:NAME`` or ``status`` takes. ValueError otherwise.

    What follows ``body`` is a JSON pointer, RFC 6901.
    """
    if said == "status":
        return lambda response: response.status
    kind, _, name = said.partition(":")
    if kind == "header" and name:
        return lambda response: response.header(name)
    kind, slash, pointer = said.partition("/")
    if kind != "body":
        raise ValueError(
            f"{said!r} takes nothing; there are body, body/a/0 (a JSON pointer), header:NAME"
            " and status"
        )
    if not slash:
        return lambda response: body_of(response, read_as)
    tokens = [_unescaped(token) for token in pointer.split("/")]
    # Only in JSON can a pointer point.
    inner: As = "json" if read_as == "auto" else read_as
    return lambda response: _at(body_of(response, inner), tokens, f"/{pointer}")


def result_maker(said: str | Mapping[str, str], read_as: As = "auto") -> Selector:
    """The result as one thing, or as an object of several. ValueError for what takes nothing."""
    if isinstance(said, str):
        return selector(said, read_as)
    selectors = {name: selector(one, read_as) for name, one in said.items()}
    return lambda response: {name: take(response) for name, take in selectors.items()}


def body_of(response: OutboundResponse, read_as: As = "auto") -> Any:
    """The body as JSON, as a text, or as base64; null when there is none.

    ToolError for a body that says that it is JSON, or has to be, and is not.
    """
    if not response.body and read_as != "text":
        return None
    said = response.media_type
    if read_as == "auto":
        read_as = _kind(response)
    if read_as == "json":
        try:
            return parse(response.body)
        except NotJsonError:
            raise ToolError(
                f"the service answered with {said or 'something'} that is not JSON"
            ) from None
    if read_as == "text":
        return response.text()
    return {"content_type": said, "base64": base64.b64encode(response.body).decode()}


def is_text(response: OutboundResponse) -> bool:
    """Whether people can read the body."""
    return _kind(response) != "bytes"


def _kind(response: OutboundResponse) -> As:
    said = response.media_type
    if said == "application/json" or said.endswith("+json"):
        return "json"
    if said.startswith("text/") or said.endswith("+xml") or said in _TEXTS or response.charset:
        return "text"
    return "bytes"


def _unescaped(token: str) -> str:
    if "~" in token.replace("~0", "").replace("~1", ""):
        raise ValueError(f"a JSON pointer has ~0 for '~' and ~1 for '/': {token!r}")
    return token.replace("~1", "/").replace("~0", "~")


def _at(value: Any, tokens: list[str], pointer: str) -> Any:
    for token in tokens:
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and _index(token) < len(value):
            value = value[_index(token)]
        else:
            raise ToolError(f"the service's answer has nothing at {pointer}")
    return value


def _index(said: str) -> int:
    """A place in a list; one behind every list when it is none."""
    return int(said) if _INDEX.fullmatch(said) else BEHIND
