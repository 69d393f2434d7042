"""The JSON form of any value, with its size bounded before any of it is written."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import (
    PydanticSerializationError,
    SchemaValidator,
    ValidationError,
    core_schema,
    from_json,
    to_json,
    to_jsonable_python,
)

MAX_DEPTH = 100
PLAIN_ITEMS, PLAIN_KEY, PLAIN_TEXT = 16, 64, 256
PLAIN_BYTES = 2 + PLAIN_ITEMS * 6 * (PLAIN_KEY + PLAIN_TEXT + 1)
PLAIN_KINDS = frozenset({int, str, bool, type(None)})

# pydantic's core checks and copies it at once, and faster than a loop could look at it.
_PLAIN = SchemaValidator(
    core_schema.dict_schema(
        core_schema.str_schema(strict=True, max_length=PLAIN_KEY),
        core_schema.union_schema(
            [
                core_schema.int_schema(strict=True, ge=-(2**63), le=2**63 - 1),
                core_schema.str_schema(strict=True, max_length=PLAIN_TEXT),
                core_schema.none_schema(),
                core_schema.bool_schema(strict=True),
            ],
            mode="left_to_right",
        ),
        max_length=PLAIN_ITEMS,
        strict=True,
    )
)
MAX_INTEGER_BITS = 14_283  # 4300 digits: Python and others read no longer ones


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
    if max_bytes >= PLAIN_BYTES and is_plain(value):
        return to_json(value)
    guessed: list[Any] = []
    try:
        if _weigh(value, max_bytes, 0, guessed) < 0:
            if guessed:
                # A model may leave out or shorten what it holds. Its parts are not copied.
                value = to_jsonable_python(value, inf_nan_mode="constants", fallback=_fallback)
            if not guessed or _weigh(value, max_bytes, 0, guessed) < 0:
                raise TooLargeError(f"larger than {max_bytes} bytes")
        text = to_json(value, inf_nan_mode="constants", fallback=_fallback)
    except (NotJsonError, TooLargeError):
        raise
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
    if (
        max_bytes >= PLAIN_BYTES
        and type(value) is dict
        and len(value) <= PLAIN_ITEMS
        and PLAIN_KINDS.issuperset(map(type, value.values()))
    ):
        try:
            return _PLAIN.validate_python(value)
        except ValidationError:
            pass  # Too long, or not plain after all.
    try:
        return from_json(json_text(value, max_bytes))
    except (NotJsonError, TooLargeError):
        raise
    except ValueError as problem:
        raise NotJsonError(f"JSON can't hold it: {problem}") from None


def parse(text: bytes | str) -> Any:
    """JSON text as a Python value; NotJsonError for what is not JSON, and for ``1e999``."""
    try:
        value = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError) as problem:  # a TypeError for a text with half a character
        raise NotJsonError(f"not JSON: {problem}") from None
    place = _not_finite(value, "")
    if place is not None:
        raise NotJsonError(f"a number is too large{place and f' (at {place})'}")
    return value


def is_plain(value: Any) -> bool:
    """Whether it is a dict of a few short strings and small integers and of nothing else:
    then its JSON text has at most ``PLAIN_BYTES``. Most arguments and results are."""
    return (
        type(value) is dict
        and len(value) <= PLAIN_ITEMS
        and PLAIN_KINDS.issuperset(map(type, value.values()))
        and _PLAIN.isinstance_python(value)
    )


def _lenient(text: bytes) -> Any:
    return from_json(text, allow_inf_nan=True)


def _fallback(value: Any) -> Any:
    """A mapping of any kind is an object; for what else pydantic doesn't know."""
    if isinstance(value, Mapping):
        return dict(value)
    raise NotJsonError(f"JSON can't hold a {type(value).__name__}")


def _weigh(value: Any, budget: int, depth: int, guessed: list[Any]) -> int:
    """What is left of ``budget`` bytes, at the most, once ``value`` is written.

    What writes itself in its own way is weighed as if it wrote all that it holds, and put
    into ``guessed``. NotJsonError for what is nested too deep, or in itself.
    """
    kind = type(value)
    if kind is str or kind is bytes:
        return budget - len(value) - 2
    if kind is dict:
        if depth > MAX_DEPTH:
            raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels")
        budget -= 1 + 4 * len(value)
        for key, item in value.items():
            if type(key) is str:
                budget -= len(key)
            kind = type(item)
            if kind is str:
                budget -= len(item) + 2
            elif kind is bool or item is None:
                budget -= 4
            else:
                budget = _weigh(item, budget, depth + 1, guessed)
            if budget < 0:
                return budget
        return budget
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        if depth > MAX_DEPTH:
            raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels")
        budget -= 1 + len(value)
        for item in value:
            budget = _weigh(item, budget, depth + 1, guessed)
            if budget < 0:
                return budget
        return budget
    if kind is int:
        if value.bit_length() > MAX_INTEGER_BITS:
            raise NotJsonError("an integer is too large: it has more than 4300 digits")
        return budget - 1
    if kind is float or kind is bool or value is None:
        return budget - 1
    held = _held(value)
    if held is None:
        return budget - 1
    guessed.append(value)
    return _weigh(held, budget, depth, guessed)


def _held(value: Any) -> Any:
    """What a value that is not of a plain type holds, as a plain one; None for nothing."""
    if isinstance(value, BaseModel):
        return {**value.__dict__, **(value.__pydantic_extra__ or {})}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple | deque | set | frozenset):
        return list(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, Iterator):
        raise NotJsonError(f"a {type(value).__name__} is not a value; make a list of it")
    return None


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
