"""What is left of a result: what is picked, what is omitted, and how it is cut."""

from __future__ import annotations

import re
from typing import Any

import pytest
from enclave_broker_middleware.pointers import GONE, parse_pointer, picked, replaced
from enclave_broker_middleware.shape import LARGE, Shape, ShapeConfig
from enclave_broker_middleware.shortening import shortened
from hypothesis import example, given
from hypothesis import strategies as st
from middleware_calls import Answers, call, spec
from pydantic import ValidationError
from pydantic_core import to_json

from enclave_broker_core import ToolError

pytestmark = pytest.mark.anyio

PEOPLE = {
    "people": [
        {"name": "Ada", "mail": "ada@example.org", "tags": ["a", "b"]},
        {"name": "Bob", "tags": []},
    ],
    "total": 2,
    "a/b": {"~": 1},
    "*": "star",
}

BOB = {"name": "Bob"}
NAMES = {"people": [{"name": "Ada"}, BOB], "*": "star"}


@pytest.mark.parametrize(
    ("pointers", "left"),
    [
        (["/total"], {"total": 2}),
        (["/people/*/name"], {"people": [{"name": "Ada"}, BOB]}),
        (["/people/*/mail"], {"people": [{"mail": "ada@example.org"}]}),
        (["/people/1", "/people/0/name"], {"people": [{"name": "Ada"}, PEOPLE["people"][1]]}),
        (["/people/*/name", "/people/0/tags/0"], {"people": [{"name": "Ada", "tags": ["a"]}, BOB]}),
        (["/a~1b/~0"], {"a/b": {"~": 1}}),
        (["/*/0/name"], {"people": [{"name": "Ada"}]}),
        (["/nothing", "/total/deeper", "/people/7"], GONE),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_picked(pointers: list[str], left: Any) -> None:
    assert picked(PEOPLE, [parse_pointer(text) for text in pointers]) == left


@pytest.mark.parametrize(
    ("pointers", "left"),
    [
        (["/people"], {"total": 2, "a/b": {"~": 1}, "*": "star"}),
        (["/people/*/tags", "/people/0/mail", "/a~1b", "/total", "/nothing/here"], NAMES),
        (["/people/0", "/total"], {"people": [PEOPLE["people"][1]], "a/b": {"~": 1}, "*": "star"}),
        (["/*"], {}),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_omitted(pointers: list[str], left: Any) -> None:
    before = to_json(PEOPLE)
    assert replaced(PEOPLE, [parse_pointer(text) for text in pointers], lambda _: GONE) == left
    assert to_json(PEOPLE) == before


@pytest.mark.parametrize("text", ["", "total", "/~2", "/a~", "/" + "a" * 1024])
def test_what_is_no_pointer(text: str) -> None:
    with pytest.raises(ValidationError, match="a JSON pointer"):
        ShapeConfig(pick=(text,))


def test_the_longest_is_cut_first() -> None:
    rows = [{"id": number, "name": "Ada"} for number in range(100)]
    value = {"rows": rows, "text": "x" * 5000, "short": "kept as it is", "n": 1}
    found: Any = shortened(value, 2000)
    assert len(to_json(found)) <= 2000
    assert (found["short"], found["n"]) == ("kept as it is", 1)
    kept = len(found["rows"]) - 1
    assert found["rows"][:-1] == rows[:kept]
    assert found["rows"][-1] == f"… [{100 - kept} items left out]"
    characters = found["text"].rstrip("]").count("x")
    assert found["text"] == f"{'x' * characters}… [{5000 - characters} characters left out]"
    assert kept > 10
    assert characters > 10 * kept


def test_texts_in_a_short_list_are_cut_before_the_list() -> None:
    found: Any = shortened(["x" * 100_000] * 5, 10_000)
    assert [len(text) > 1000 for text in found] == [True] * 5


def test_objects_keep_their_members_until_it_takes_more_than_texts() -> None:
    value = {f"key {number}": "x" * 500 for number in range(20)}
    found: Any = shortened(value, 2000)
    assert list(found) == list(value)
    found = shortened({f"key {number}": number for number in range(1000)}, 2000)
    assert found["…"].endswith(" members left out]")
    assert list(found)[:3] == ["key 0", "key 1", "key 2"]
    found = shortened({"…": "mine", **{f"key {number}": number for number in range(1000)}}, 2000)
    assert found["…"] == "mine"
    assert found["……"].endswith(" members left out]")


@pytest.mark.parametrize(
    ("value", "max_bytes", "left"),
    [
        ([[[[[["deep"]]]]]], 8, None),
        ({"k" * 100: 1}, 40, {"…": "[1 member left out]"}),
        ("x" * 100, 40, "x… [99 characters left out]"),
        ("x" * 100, 3, None),
        ([1] * 50, 28, ["… [50 items left out]"]),
        (12345678901, 11, 12345678901),
        (12345678901, 10, None),
        (10**30, 25, "[31 bytes left out]"),
    ],
)
def test_the_least_that_is_left(value: Any, max_bytes: int, left: Any) -> None:
    found = shortened(value, max_bytes)
    assert len(to_json(found)) <= max(max_bytes, 4)
    if isinstance(left, str) and "characters" in left:
        assert isinstance(found, str)
        assert found.startswith("x")
    else:
        assert found == left


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=60,
)


@given(JSON, st.integers(4, 3000))
def test_it_always_fits_and_is_of_the_same_kind(value: Any, max_bytes: int) -> None:
    before = to_json(value)
    found = shortened(value, max_bytes)
    assert to_json(value) == before
    assert len(to_json(found)) <= max_bytes
    if len(before) <= max_bytes:
        assert found is value
    elif max_bytes > 300 and not isinstance(value, int | float):
        assert type(found) is type(value)
        assert " left out]" in to_json(found).decode()


@given(JSON, st.integers(40, 2000))
@example([None, '00000000"\x1f\x1f\x07𐀀'], 40)
def test_what_is_cut_stands_where_it_stood(value: Any, max_bytes: int) -> None:
    def check(one: Any, left: Any) -> None:
        if isinstance(left, str) and left.endswith(" left out]"):
            # What is said of a list's items stands where the first of them stood.
            of_items = re.fullmatch(r"… \[\d+ items? left out\]", left)
            assert not isinstance(one, str) or len(left) < len(one) or left[0] == "[" or of_items
            return
        assert type(one) is type(left)
        if isinstance(left, list):
            for item, kept in zip(one, left, strict=False):
                check(item, kept)
        elif isinstance(left, dict):
            for name, kept in left.items():
                if name in one:
                    check(one[name], kept)
                else:
                    assert kept.endswith(" left out]")
        else:
            assert one == left

    found = shortened(value, max_bytes)
    if found is not None:
        check(value, found)


def config(**fields: Any) -> ShapeConfig:
    return ShapeConfig.model_validate(fields)


async def test_it_shapes_the_results_of_its_tools() -> None:
    shape = Shape(config(tools=["users:*"], pick=["/people", "/total"], omit=["/people/*/tags"]))
    left = {"people": [{"name": "Ada", "mail": "ada@example.org"}, {"name": "Bob"}], "total": 2}
    assert await shape(call(spec()), Answers(PEOPLE)) == left
    assert await shape(call(spec("other")), Answers(PEOPLE)) is PEOPLE
    assert await shape(call(spec()), Answers("text")) is None


async def test_tokens_are_four_bytes() -> None:
    assert (config(max_tokens=10).budget, config(max_tokens=10, max_bytes=30).budget) == (40, 30)
    found = await Shape(config(max_tokens=100))(call(spec()), Answers("x" * 1000))
    assert 350 < len(to_json(found)) <= 400
    with pytest.raises(ValidationError, match="say what to do"):
        config()


async def test_a_large_result_is_shaped_as_a_small_one_is() -> None:
    rows = [{"id": number, "text": "x" * 100} for number in range(LARGE // 100)]
    shape = Shape(config(max_bytes=1000))
    assert await shape(call(spec()), Answers(rows)) == shape.shaped(rows)


async def test_what_is_no_json_is_the_tool_s_error() -> None:
    with pytest.raises(ToolError, match="can't be passed on"):
        await Shape(config(max_bytes=10))(call(spec()), Answers(object()))
