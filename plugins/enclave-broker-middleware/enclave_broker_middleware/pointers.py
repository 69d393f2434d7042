"""JSON pointers (RFC 6901) into results, with ``*`` for every item of a list or an object."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue

MAX_POINTER_LENGTH = 1024
MAX_POINTERS = 256
EVERY = "*"

_WRONG_ESCAPE = re.compile(r"~(?![01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")

Names = tuple[str, ...]


class Missing(enum.Enum):
    """What is not there, or is not to be there: no JSON value looks like it."""

    GONE = enum.auto()


GONE = Missing.GONE


def parse_pointer(text: str) -> Names:
    """The names on the way. ValueError says what is wrong."""
    if len(text) > MAX_POINTER_LENGTH:
        raise ValueError(f"a JSON pointer may have {MAX_POINTER_LENGTH} characters")
    if not text.startswith("/"):
        raise ValueError(f"a JSON pointer begins with '/': {text!r}")
    if _WRONG_ESCAPE.search(text):
        raise ValueError(f"a JSON pointer has ~0 for '~' and ~1 for '/': {text!r}")
    return tuple(name.replace("~1", "/").replace("~0", "~") for name in text[1:].split("/"))


def _checked(text: str) -> str:
    parse_pointer(text)
    return text


Pointer = Annotated[str, AfterValidator(_checked)]
Pointers = Annotated[tuple[Pointer, ...], Field(max_length=MAX_POINTERS)]


def picked(value: JsonValue, pointers: Sequence[Names]) -> Any:
    """Only what is pointed at, with what it stands in; GONE when there is nothing of it.

    What is left of a list keeps its order and moves together.
    """
    if () in pointers:
        return value
    if isinstance(value, dict):
        members = {name: picked(item, _below(pointers, name)) for name, item in value.items()}
        return {name: item for name, item in members.items() if item is not GONE} or GONE
    if isinstance(value, list):
        items = [picked(item, _below(pointers, str(at))) for at, item in enumerate(value)]
        return [item for item in items if item is not GONE] or GONE
    return GONE


def replaced(value: Any, pointers: Sequence[Names], replace: Callable[[Any], Any]) -> Any:
    """A copy with ``replace(old)`` for all that is pointed at; GONE leaves it out."""
    if not pointers:
        return value
    if () in pointers:
        return replace(value)
    if isinstance(value, dict):
        members = {
            name: replaced(item, _below(pointers, name), replace) for name, item in value.items()
        }
        return {name: item for name, item in members.items() if item is not GONE}
    if isinstance(value, list):
        items = [
            replaced(item, _below(pointers, str(at)), replace) for at, item in enumerate(value)
        ]
        return [item for item in items if item is not GONE]
    return value


def at_pointer(value: Any, names: Sequence[str]) -> Any:
    """What is there; GONE for nothing. Here ``*`` is a name as any other."""
    for name in names:
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and _INDEX.fullmatch(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            return GONE
    return value


def _below(pointers: Sequence[Names], name: str) -> Sequence[Names]:
    return [pointer[1:] for pointer in pointers if pointer[0] in (name, EVERY)]
