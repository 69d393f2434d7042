"""The JSON form of values: what it is, how large it may be, and what has none."""

from __future__ import annotations

import copy
import dataclasses
import enum
import json
import math
import uuid
from collections import OrderedDict, defaultdict, deque, namedtuple
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, field_serializer

from enclave_broker_core.json_form import (
    MAX_DEPTH,
    PLAIN_BYTES,
    NotJsonError,
    TooLargeError,
    is_plain,
    json_copy,
    json_text,
    parse,
)

ENOUGH = 10**7

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=25,
)


def containers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value, *(found for item in value.values() for found in containers(item))]
    if isinstance(value, list):
        return [value, *(found for item in value for found in containers(item))]
    return []


class Point(BaseModel):
    x: int
    y: int = 0


class Shy(BaseModel):
    """Writes less than it holds."""

    model_config = ConfigDict(extra="allow")

    shown: int = 1
    hidden: str = Field(default="h" * 1000, exclude=True)
    shortened: str = "s" * 1000
    a_long_name: int = Field(default=1, serialization_alias="a")

    @field_serializer("shortened")
    def _short(self, value: str) -> str:
        return value[:1]


@dataclasses.dataclass
class Node:
    text: str = ""
    next: Any = None


@dataclasses.dataclass(slots=True)
class Slotted:
    text: str


class Colour(enum.Enum):
    RED = "red"


Pair = namedtuple("Pair", "left right")


# The form


@settings(max_examples=200, deadline=None)
@given(value=values)
@example(value={"": [{}, [], [[]], "", None, True, -0.0, 1e300, 2**64]})
@example(value={f"k{n}": "\x1f" * 256 for n in range(16)})
def test_a_json_value_is_its_own_form_and_shares_nothing_with_it(value: Any) -> None:
    before = copy.deepcopy(value)
    copied = json_copy(value, ENOUGH)
    assert json.dumps(copied) == json.dumps(value)
    for found in containers(copied):
        found.clear()
    assert value == before


@settings(max_examples=200, deadline=None)
@given(value=values)
@example(value=[1, 2])
@example(value=["a"])
@example(value={"a": {}})
@example(value={"a": 1})
@example(value={"a": None, "b": True})
def test_the_bound_is_exact(value: Any) -> None:
    text = json_text(value, ENOUGH)
    assert json_text(value, len(text)) == text
    with pytest.raises(TooLargeError):
        json_text(value, len(text) - 1)


@settings(max_examples=100, deadline=None)
@given(value=values)
def test_what_is_written_is_read_back(value: Any) -> None:
    text = json_text(value, ENOUGH)
    read, known = parse(text), json.loads(text)
    # Two whole numbers may be one float; as texts they differ.
    assert json.dumps(read) == json.dumps(known)
    assert parse(text.decode()) == read


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (b"bytes", "bytes"),
        ((1, 2), [1, 2]),
        ({7}, [7]),
        (frozenset({"a"}), ["a"]),
        (deque([1, 2]), [1, 2]),
        (Pair(1, "b"), [1, "b"]),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, {"a": [1]}), {"a": [1]}),
        (MappingProxyType({"a": MappingProxyType({"b": 1})}), {"a": {"b": 1}}),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00Z"),
        (timedelta(seconds=90), "PT1M30S"),
        (Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        (Point(x=1), {"x": 1, "y": 0}),
        ([Point(x=1)], [{"x": 1, "y": 0}]),
        (RootModel[str]("root"), "root"),
        (Shy(more=2), {"shown": 1, "shortened": "s", "a": 1, "more": 2}),
        (Node("a", Node("b")), {"text": "a", "next": {"text": "b", "next": None}}),
        (Slotted("a"), {"text": "a"}),
        ({1: "a", 2.5: "b", date(2026, 1, 31): "c"}, {"1": "a", "2.5": "b", "2026-01-31": "c"}),
        ({True: 1}, {"true": 1}),
        pytest.param(10**4299, 10**4299, id="long integer"),
    ],
)
def test_what_else_has_a_form(value: Any, form: Any) -> None:
    copied = json_copy(value, ENOUGH)
    assert copied == form
    text = json_text(value, ENOUGH)
    assert json_text(value, len(text)) == text
    with pytest.raises(TooLargeError):
        json_text(value, len(text) - 1)


# What has none

cycle: list[Any] = []
cycle.append({"again": cycle})
node_cycle = Node()
node_cycle.next = node_cycle
deep: Any = []
for _ in range(MAX_DEPTH + 5):
    deep = [deep]
deep_nodes = Node()
for _ in range(MAX_DEPTH + 5):
    deep_nodes = Node(next=deep_nodes)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, r"no NaN or Infinity$"),
        ({"a": [1.0, math.inf]}, r"no NaN or Infinity \(at a.1\)"),
        (Node("NaN", -math.inf), r"no NaN or Infinity \(at next\)"),
        ("half \ud83d", "surrogates not allowed"),
        ({"half \ud83d": 1}, "surrogates not allowed"),
        (b"\xff", "utf-8"),
        (cycle, "nested deeper than 100 levels"),
        (node_cycle, "nested deeper than 100 levels"),
        (deep, "nested deeper than 100 levels"),
        (deep_nodes, "nested deeper than 100 levels"),
        (object(), "can't hold a object"),
        ({"a": [print]}, "can't hold a builtin_function_or_method"),
        ((n for n in range(3)), "a generator is not a value"),
        ([iter([])], "a list_iterator is not a value"),
        pytest.param(10**4300, "more than 4300 digits", id="too long integer"),
        ({"a": -(10**4300)}, "more than 4300 digits"),
    ],
)
def test_what_json_cannot_hold(value: Any, said: str) -> None:
    with pytest.raises(NotJsonError, match=said):
        json_text(value, ENOUGH)
    with pytest.raises(NotJsonError, match=said):
        json_copy(value, ENOUGH)


def test_the_words_nan_and_infinity_are_texts_like_others() -> None:
    value = {"NaN": ["Infinity", "-Infinity NaN"]}
    assert json_copy(value, ENOUGH) == value


def test_as_deep_as_allowed() -> None:
    value: Any = "x"
    for _ in range(MAX_DEPTH):
        value = [value]
    assert json_copy(value, ENOUGH) == value
    with pytest.raises(NotJsonError):
        json_copy({"a": [value]}, ENOUGH)


MEGABYTE = "x" * 1024 * 1024


@pytest.mark.parametrize(
    "value",
    [
        [MEGABYTE] * 10**6,
        (MEGABYTE,) * 10**6,
        [[MEGABYTE] * 1000] * 1000,
        dict.fromkeys(range(10**5), MEGABYTE),
        {"a": {"b": [MEGABYTE] * 10**6}},
        [MEGABYTE.encode()] * 10**6,
        deque([MEGABYTE] * 10**4),
        defaultdict(list, {"a": [MEGABYTE] * 10**6}),
        RootModel[list[str]].model_construct([MEGABYTE] * 10**4),
        Node(next=[MEGABYTE] * 10**4),
        [Slotted(MEGABYTE)] * 10**4,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_terabyte_made_of_one_megabyte_is_refused_and_never_written(value: Any) -> None:
    """Written out, each of these would not fit into this machine."""
    with pytest.raises(TooLargeError):
        json_text(value, 4 * 1024 * 1024)
    with pytest.raises(TooLargeError):
        json_copy({"inside": value}, 4 * 1024 * 1024)


# Plain values

LARGEST = 2**63 - 1
plain_keys = st.text(st.characters(codec="utf-8"), max_size=64)
plain_items = (
    st.integers(-LARGEST - 6, LARGEST + 5)
    | st.text(st.characters(codec="utf-8"), max_size=258)
    | st.none()
    | st.booleans()
)


@settings(max_examples=200, deadline=None)
@given(value=st.dictionaries(plain_keys, plain_items, max_size=18))
@example(value={"\x1f" * 63 + chr(n + 14): "\x1f" * 256 for n in range(16)})
@example(value={str(n): -LARGEST - 1 for n in range(16)})
def test_a_plain_value_is_its_own_form_within_its_bound(value: dict[str, Any]) -> None:
    if not is_plain(value):
        assert (
            len(value) > 16
            or any(len(item) > 256 for item in value.values() if isinstance(item, str))
            or any(
                not -LARGEST - 1 <= item <= LARGEST for item in value.values() if type(item) is int
            )
        )
        return
    text = json_text(value, PLAIN_BYTES)
    assert len(text) <= PLAIN_BYTES
    assert json.loads(text) == value


@pytest.mark.parametrize(
    "value",
    [
        {1: "a"},
        {"\ud800": 1},
        {"a" * 65: 1},
        {"a": "\ud800"},
        {"a": "x" * 257},
        {"a": 1.5},
        {"a": []},
        {"a": {}},
        {"a": 2**63},
        {"a": -(2**63) - 1},
        {str(n): n for n in range(17)},
    ],
)
def test_what_is_not_plain(value: dict[Any, Any]) -> None:
    assert not is_plain(value)


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    """A text that is more than a text."""


def test_what_only_looks_plain_comes_out_as_plain_values() -> None:
    copied = json_copy({Name("a"): 1, "b": Name("x"), "c": Level.HIGH}, PLAIN_BYTES)
    assert copied == {"a": 1, "b": "x", "c": 3}
    assert {type(part) for pair in copied.items() for part in pair} == {str, int}


def test_a_plain_value_is_weighed_too_when_the_bound_is_small() -> None:
    assert json_text({"a": "xx"}, 10) == b'{"a":"xx"}'
    with pytest.raises(TooLargeError):
        json_text({"a": "xx"}, 9)
