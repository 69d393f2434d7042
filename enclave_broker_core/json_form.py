"""The JSON form of any value, with its size bounded before any of it is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, from_json, to_json

MAX_DEPTH = 100
LARGEST_PLAIN = 2**63 - 1
PLAIN_BYTES = 16 * 6 * (256 + 64 + 8)


class NotJsonError(ValueError):
    """JSON can't hold the value; the message says why."""


class TooLargeError(ValueError):
    """The value's JSON text would be longer than allowed."""


def json_text(value: Any, max_bytes: int) -> bytes:
    """``value`` as JSON text of at most ``max_bytes``; NotJsonError, TooLargeError.

    Models, dataclasses, dates, UUIDs, sets and what else pydantic can write are written
    in its JSON form. Strings and containers are weighed first, so that a value of a
    gigabyte is refused without a copy of it being made.
    """
    if max_bytes >= PLAIN_BYTES and type(value) is dict and is_plain(value):
        return to_json(value)
    if _weigh(value, max_bytes, 0) < 0:
        raise TooLargeError(f"larger than {max_bytes} bytes")
    try:
        text = to_json(value, inf_nan_mode="constants")
    except PydanticSerializationError as problem:
        reason = str(problem).removeprefix("Error serializing to JSON: ")
        raise NotJsonError(f"JSON can't hold it: {reason}") from None
    except (ValueError, RecursionError) as problem:
        raise NotJsonError(f"JSON can't hold it: {problem}") from None
    if len(text) > max_bytes:
        raise TooLargeError(f"{len(text)} bytes of JSON, {max_bytes} are allowed")
    if b"NaN" in text or b"Infinity" in text:
        place = _not_finite(_lenient(text), "")
        if place is not None:
            raise NotJsonError(f"JSON has no NaN or Infinity{place and f' (at {place})'}")
    return text


def json_copy(value: Any, max_bytes: int) -> Any:
    """``value`` in its JSON form, sharing nothing with it; errors as in ``json_text``."""
    if max_bytes >= PLAIN_BYTES and type(value) is dict and is_plain(value):
        return value.copy()
    return from_json(json_text(value, max_bytes))


def parse(text: bytes | str) -> Any:
    """JSON text as a Python value; NotJsonError for what is not JSON, and for ``1e999``."""
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as problem:
        raise NotJsonError(f"not JSON: {problem}") from None
    place = _not_finite(value, "")
    if place is not None:
        raise NotJsonError(f"a number is too large{place and f' (at {place})'}")
    return value


def is_plain(value: dict[Any, Any]) -> bool:
    """Whether it holds a few short strings and small integers only: then it is its own
    JSON form, of at most ``PLAIN_BYTES``. Most arguments and results are."""
    if len(value) > 16:
        return False
    for key, item in value.items():
        kind = type(item)
        if kind is int:
            if item > LARGEST_PLAIN or item < -LARGEST_PLAIN:
                return False
        elif kind is str:
            if len(item) > 256 or not item.isascii():
                return False
        elif item is not None and kind is not bool:
            return False
        if type(key) is not str or len(key) > 64 or not key.isascii():
            return False
    return True


def _lenient(text: bytes) -> Any:
    return from_json(text, allow_inf_nan=True)


def _weigh(value: Any, budget: int, depth: int) -> int:
    """What is left of ``budget`` bytes, at the least, once ``value`` is written."""
    kind = type(value)
    if kind is str or kind is bytes:
        return budget - len(value) - 2
    if kind is dict:
        if depth > MAX_DEPTH:
            raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels")
        budget -= 2 + 3 * len(value)
        for key, item in value.items():
            budget -= len(key) + 1 if type(key) is str else 1
            kind = type(item)
            if kind is str:
                budget -= len(item)
            elif kind is not int and kind is not bool and item is not None:
                budget = _weigh(item, budget, depth + 1)
            if budget < 0:
                return budget
        return budget
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        if depth > MAX_DEPTH:
            raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels")
        budget -= 1 + 2 * len(value)
        for item in value:
            budget = _weigh(item, budget, depth + 1)
            if budget < 0:
                return budget
        return budget
    if isinstance(value, BaseModel):
        return _weigh(value.__dict__, budget, depth)
    return budget - 1


def _not_finite(value: Any, place: str) -> str | None:
    """Where the first number is that is not finite."""
    if isinstance(value, float):
        return None if math.isfinite(value) else place
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        if isinstance(item, float | Mapping | list):
            found = _not_finite(item, f"{place}.{key}" if place else str(key))
            if found is not None:
                return found
    return None
