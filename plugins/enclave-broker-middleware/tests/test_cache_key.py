"""Which arguments are the same, and that no others are."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from enclave_broker_middleware.cache_key import key_of, normal_arguments
from hypothesis import given
from hypothesis import strategies as st

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "limit": {"type": "integer", "default": 20},
        "ratio": {"type": "number", "default": 1.0},
        "filter": {"$ref": "#/$defs/Filter"},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Filter"}},
        "pair": {"prefixItems": [{"$ref": "#/$defs/Filter"}, {}]},
        "none": {"default": None},
        "open": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Filter"}},
    },
    "$defs": {
        "Filter": {"properties": {"deep": {"default": False}, "again": {"$ref": "#/$defs/Filter"}}},
        "round": {"$ref": "#/$defs/round"},
    },
}
FILLED = {"limit": 20, "ratio": 1, "none": None}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        (b"{}", FILLED),
        (b'{"limit": 20.0}', FILLED),
        (b'{"limit": 21}', {**FILLED, "limit": 21}),
        (b'{"filter": {}}', {**FILLED, "filter": {"deep": False}}),
        (
            b'{"filter": {"again": {"deep": true}}}',
            {**FILLED, "filter": {"deep": False, "again": {"deep": True}}},
        ),
        (b'{"parts": [{}, 1]}', {**FILLED, "parts": [{"deep": False}, 1]}),
        (b'{"pair": [{}, {}, {}]}', {**FILLED, "pair": [{"deep": False}, {}, {}]}),
        (b'{"open": {"a": {}}}', {**FILLED, "open": {"a": {"deep": False}}}),
        (b'{"none": 1.5}', {**FILLED, "none": 1.5}),
    ],
)
def test_defaults_are_filled_in(text: bytes, normal: Any) -> None:
    assert normal_arguments(text, SCHEMA) == normal


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": 3},
        {"properties": {"a": True, "b": {"$ref": 5}}},
        {"properties": {"a": {"$ref": "https://example.org/schema"}}},
        {"properties": {"a": {"$ref": "#/nowhere"}}},
        {"$ref": "#/$defs/round", "$defs": {"round": {"$ref": "#/$defs/round"}}},
        {"properties": {"a": {"items": False, "prefixItems": "x"}}},
    ],
)
def test_an_odd_schema_fills_in_nothing(schema: dict[str, Any]) -> None:
    given = {"a": {"b": [1, {"c": {}}]}}
    assert normal_arguments(json.dumps(given).encode(), schema) == given


def test_a_default_that_holds_itself_ends() -> None:
    schema = {
        "$ref": "#/$defs/Tree",
        "$defs": {
            "Tree": {
                "properties": {
                    "left": {"$ref": "#/$defs/Tree", "default": {}},
                    "right": {"$ref": "#/$defs/Tree", "default": {}},
                }
            }
        },
    }
    assert normal_arguments(b"{}", schema) == {"left": {}, "right": {}}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(["limit", "filter", "parts", "x", ""]), JSON, max_size=4)


def same(one: Any, other: Any) -> bool:
    """The slow and obvious way: what a tool could not tell apart by JSON's own rules."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        if max(abs(one), abs(other)) > 2**53 and type(one) is not type(other):
            return False  # not said to be the same, to be safe
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def key(arguments: Any, schema: Any) -> bytes:
    return key_of(normal_arguments(json.dumps(arguments).encode(), schema))


@given(OBJECTS, OBJECTS)
def test_keys_are_equal_for_equal_arguments_and_for_no_others(one: Any, other: Any) -> None:
    assert (key(one, {}) == key(other, {})) is same(one, other)


def other_way(value: Any, flip: Any) -> Any:
    """The same value, written otherwise."""
    if isinstance(value, dict):
        return {name: other_way(value[name], flip) for name in reversed(value)}
    if isinstance(value, list):
        return [other_way(item, flip) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53:
        return float(value) if flip() else value
    return value


@given(OBJECTS, st.randoms(use_true_random=False))
def test_however_they_are_written_the_key_is_one(arguments: Any, random: Any) -> None:
    again = other_way(arguments, lambda: random.random() < 0.5)
    assert key(arguments, SCHEMA) == key(again, SCHEMA)


@given(OBJECTS)
def test_what_is_filled_in_changes_nothing_more(arguments: Any) -> None:
    normal = normal_arguments(json.dumps(arguments).encode(), SCHEMA)
    assert normal_arguments(json.dumps(normal).encode(), SCHEMA) == normal
    assert isinstance(normal, dict)
    assert all(name in normal for name in arguments)


def test_no_float_stands_for_integers_that_it_can_not_tell_apart() -> None:
    assert key({"x": 2.0**53}, {}) == key({"x": 2**53}, {})
    assert key({"x": 2.0**54}, {}) not in (key({"x": 2**54}, {}), key({"x": 2**54 + 1}, {}))


def test_the_parts_of_a_key_do_not_run_together() -> None:
    assert key_of("a", "bc") != key_of("ab", "c")
    assert key_of(["a"], "b") != key_of("a", ["b"])
    assert key_of(None) != key_of("None")
