"""Lays one configuration over another, and environment variables over all."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .places import Place, written

PREFIX = "ENCLAVE_BROKER__"
LEVEL = "__"

_INDEX = re.compile(r"[0-9]{1,9}")
_ABSENT = object()


class WrongVariable(Exception):
    """A variable that can't be laid over the configuration; the message says why."""


def merged(below: Any, above: Any) -> Any:
    """Tables are merged by key, all else is replaced. Changes neither of the two."""
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        both = dict(below)
        for key, value in above.items():
            both[key] = merged(below[key], value) if key in below else value
        return both
    return above


def variables_in(environment: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """The name, the keys and the value of each variable, in the order of their keys."""
    found = [name for name in environment if name.startswith(PREFIX)]
    keys = {name: tuple(name[len(PREFIX) :].lower().split(LEVEL)) for name in found}
    for name in sorted(found, key=lambda name: ([_natural(key) for key in keys[name]], name)):
        yield name, keys[name], value_of(environment[name])


def variable_for(place: Place) -> str:
    """The name of the variable that sets a place."""
    return PREFIX + LEVEL.join(str(part).upper() for part in place)


def value_of(text: str) -> Any:
    """A variable's text as the TOML value that it is, or as a text when it is none.

    A date is a text too, which is what the models take.
    """
    try:
        # In a list, so that a comment behind the value, which would be lost, is an error.
        found = tomllib.loads(f"values = [{text}]")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    values = found.pop("values")
    if found or len(values) != 1 or text.rstrip().endswith(","):
        return text
    return text if isinstance(values[0], datetime.date | datetime.time) else values[0]


def place_of(data: Any, keys: Sequence[str]) -> Place:
    """Where in the data the keys of a variable lead: a number is an item of a list.

    Raises WrongVariable when they lead into a value, or past the end of a list.
    """
    place: Place = ()
    for key in keys:
        if not key:
            raise WrongVariable(f"there is nothing between or behind its {LEVEL!r}")
        index = int(key) if _INDEX.fullmatch(key) else None
        if data is _ABSENT:
            data = {} if index is None else []
        if isinstance(data, Mapping):
            data, place = data.get(key, _ABSENT), (*place, key)
        elif not isinstance(data, list | tuple):
            raise WrongVariable(f"{written(place)} is a value, with nothing in it")
        elif index is None:
            first = variable_for((*place, 0, *keys[len(place) :]))
            raise WrongVariable(f"{written(place)} is a list; its first item is {first}")
        elif index > len(data):
            following = variable_for((*place, len(data)))
            raise WrongVariable(f"{written(place)} has {len(data)} items; next is {following}")
        else:
            data, place = data[index] if index < len(data) else _ABSENT, (*place, index)
    return place


def laid(data: Any, place: Place, value: Any) -> Any:
    """The data with a value laid over what is at a place, which ``place_of`` has found."""
    if not place:
        return value if data is _ABSENT else merged(data, value)
    key, below = place[0], place[1:]
    if isinstance(key, int):
        items = [] if data is _ABSENT else list(data)
        held = items[key] if key < len(items) else _ABSENT
        return [*items[:key], laid(held, below, value), *items[key + 1 :]]
    table = {} if data is _ABSENT else dict(data)
    return {**table, key: laid(table.get(key, _ABSENT), below, value)}


def _natural(key: str) -> tuple[int, str]:
    return (int(key), "") if _INDEX.fullmatch(key) else (-1, key)
