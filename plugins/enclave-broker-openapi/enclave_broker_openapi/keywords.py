"""Which keywords of a schema are kept, and which values they may have to be of any use."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
LONGEST_TEXT = 2000
MOST_CHOICES = 500
MOST_EXAMPLES = 3


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> bool:
    return _number(value) and value >= 0 and float(value).is_integer()


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _names_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_names, value.values()))


# What is copied when its value is of this kind. What holds schemas is not among them.
PLAIN: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "title": _text,
        "description": _text,
        "format": _text,
        "contentEncoding": _text,
        "contentMediaType": _text,
        "multipleOf": lambda value: _number(value) and value > 0,
        "maximum": _number,
        "minimum": _number,
        "exclusiveMaximum": _number,
        "exclusiveMinimum": _number,
        "maxLength": _count,
        "minLength": _count,
        "maxItems": _count,
        "minItems": _count,
        "maxContains": _count,
        "minContains": _count,
        "maxProperties": _count,
        "minProperties": _count,
        "uniqueItems": _flag,
        "deprecated": _flag,
        "required": _names,
        "dependentRequired": _names_by_name,
        "const": lambda value: True,
        "default": lambda value: True,
    }
)
ONE_SCHEMA = frozenset(
    {
        "not",
        "if",
        "then",
        "else",
        "contains",
        "propertyNames",
        "additionalProperties",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
LISTS_OF_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
MAPS_OF_SCHEMAS = frozenset({"patternProperties", "dependentSchemas"})


def cut(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text of a document within bounds."""
    text = text[: longest + LONGEST_TEXT].strip()  # of megabytes the rest is not looked at
    return text if len(text) <= longest else f"{text[:longest].rstrip()}…"


def short_ones(values: Iterable[Any]) -> list[Any]:
    """The first few of some examples that are short: a long one costs more than it tells."""
    return [one for one in itertools.islice(values, MOST_EXAMPLES) if _room(one, 200) >= 0]


def _room(value: Any, room: int) -> int:
    """What is left of so many characters, below zero when a value takes more."""
    if isinstance(value, str):
        return room - len(value) - 2
    if not isinstance(value, dict | list):
        return room - 4
    pairs: Any = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for key, item in pairs:
        room = _room(item, room - (0 if key is None else len(key)) - 2)
        if room < 0:
            break
    return room


def unique(values: list[Any]) -> list[Any]:
    """The values without repetitions, ``1`` and ``true`` being two."""
    seen: set[str] = set()
    kept = []
    for value in values:
        mark = f"{type(value).__name__} {value!r}"
        if mark not in seen:
            seen.add(mark)
            kept.append(value)
    return kept
