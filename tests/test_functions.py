"""Functions as tools: the schema of a signature, and the call that fits it."""

from __future__ import annotations

import dataclasses
import functools
import json
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from enclave_broker_core import ArgumentsError, ConfigError, ToolContext
from enclave_broker_core.docstrings import describe
from enclave_broker_core.functions import FunctionTool
from enclave_broker_core.threads import Threads

pytestmark = pytest.mark.anyio


class Options(BaseModel):
    deep: bool = False
    names: list[str] = []


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


def tool_of(handler: Callable[..., Any], **options: Any) -> FunctionTool:
    return FunctionTool("t", handler, Threads(), **options)


async def call(tool: FunctionTool, args: dict[str, Any]) -> Any:
    arguments = tool.validate(json.dumps(args).encode())
    return await tool.invoke(arguments, None)  # type: ignore[arg-type]


# For generated signatures

Kind = tuple[Any, st.SearchStrategy[Any], Callable[[Any], Any]]


def same(value: Any) -> Any:
    return value


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
whole = st.integers(-(2**70), 2**70)
kinds: list[Kind] = [
    (int, whole, same),
    (str, texts, same),
    (bool, st.booleans(), same),
    (float, st.floats(allow_nan=False, allow_infinity=False), same),
    (list[int], st.lists(whole, max_size=3), same),
    (dict[str, int], st.dictionaries(texts, whole, max_size=3), same),
    (str | None, st.none() | texts, same),
    (Literal["a", "b"], st.sampled_from(["a", "b"]), same),
    (Annotated[int, Field(ge=0, le=9)], st.integers(0, 9), same),
    (tuple[int, str], st.tuples(whole, texts).map(list), tuple),
    (set[int], st.lists(whole, max_size=3, unique=True), set),
    (Options, st.fixed_dictionaries({"deep": st.booleans()}), lambda v: Options(**v)),
    (Point, st.fixed_dictionaries({"x": whole, "y": whole}), lambda v: Point(**v)),
    (Any, st.none() | st.lists(texts, max_size=2), same),
]
hard_names = ["self", "cls", "_x", "__y", "schema", "model_config", "copy", "name", "args", "é"]
parameter_names = st.sampled_from(["a", "b", "c", "arguments", "handler", "context", *hard_names])
signatures = st.dictionaries(
    parameter_names, st.tuples(st.sampled_from(range(len(kinds))), st.booleans()), max_size=5
)


@settings(max_examples=150, deadline=None)
@given(signature=signatures, plain=st.booleans(), data=st.data())
async def test_arguments_that_fit_the_schema_arrive_intact(
    signature: dict[str, tuple[int, bool]], plain: bool, data: st.DataObject
) -> None:
    given: dict[str, Any] = {}
    expected: dict[str, Any] = {}
    parameters, hints = [], {}
    for name, (number, optional) in signature.items():
        hint, values, arrived = kinds[number]
        hints[name] = hint
        if optional:
            default = arrived(data.draw(values))
            parameters.append((name, default))
            expected[name] = default
        if not optional or data.draw(st.booleans()):
            given[name] = data.draw(values)
            expected[name] = arrived(given[name])

    # A function of exactly these parameters, all of them by name.
    listed = ", ".join(n + (f"=d[{n!r}]" if n in dict(parameters) else "") for n in signature)
    kind = "def" if plain else "async def"
    head = f"{kind} f({'*, ' + listed if listed else ''}):"
    scope: dict[str, Any] = {"d": dict(parameters)}
    exec(f"{head}\n    return dict(locals())", scope)
    scope["f"].__annotations__ = hints

    tool = tool_of(scope["f"])
    assert jsonschema_rs.is_valid(tool.spec.input_schema, given)
    assert set(tool.spec.input_schema["properties"]) == signature.keys()
    assert set(tool.spec.input_schema.get("required", ())) == {
        name for name, (_, optional) in signature.items() if not optional
    }
    assert await call(tool, given) == expected
    missing = [name for name in given if not signature[name][1]]
    for name in missing:
        less = {key: value for key, value in given.items() if key != name}
        assert not jsonschema_rs.is_valid(tool.spec.input_schema, less)
        with pytest.raises(ArgumentsError):
            await call(tool, less)
    with pytest.raises(ArgumentsError, match="unknown: "):
        await call(tool, {**given, "unknown": 1})


# Defaults


async def test_a_default_may_be_any_value_and_is_never_shared() -> None:
    def spoil(
        numbers: list[int] = [1],  # noqa: B006
        nested: dict[str, list[int]] = {"a": [1]},  # noqa: B006
        options: Options = Options(names=["x"]),  # noqa: B008
        point: Point = Point(1),  # noqa: B008
    ) -> Any:
        before = json.dumps([numbers, nested, options.names, point.x])
        numbers.append(2)
        nested["a"].append(2)
        options.names.append("y")
        point.x = 2
        return before

    tool = tool_of(spoil)
    for _ in range(3):
        assert await call(tool, {}) == '[[1], {"a": [1]}, ["x"], 1]'
    assert {k: v["default"] for k, v in tool.spec.input_schema["properties"].items()} == {
        "numbers": [1],
        "nested": {"a": [1]},
        "options": {"deep": False, "names": ["x"]},
        "point": {"x": 1, "y": 0},
    }


async def test_a_default_that_json_cannot_hold_is_not_in_the_schema() -> None:
    marker = object()

    def t(value: Any = marker) -> bool:
        return value is marker

    tool = tool_of(t)
    assert tool.spec.input_schema["properties"] == {"value": {"title": "Value"}}
    assert await call(tool, {}) is True


# Any keyword


async def test_the_hint_of_keywords_holds_for_each() -> None:
    async def t(a: int, **rest: Annotated[Point, Field()]) -> Any:
        return a, rest

    tool = tool_of(t)
    schema = tool.spec.input_schema
    assert schema["additionalProperties"] == {"$ref": "#/$defs/Point"}
    assert schema["$defs"]["Point"]["required"] == ["x"]
    assert await call(tool, {"a": 1, "b": {"x": 2}}) == (1, {"b": Point(2)})
    with pytest.raises(ArgumentsError, match=r"b\.x: "):
        await call(tool, {"a": 1, "b": {"x": "two"}})


def test_policies_see_all_that_the_handler_gets() -> None:
    def any_keyword(a: int, **rest: Any) -> None: ...
    def hinted(a: int, **rest: Point) -> None: ...
    def context(a: int, ctx: ToolContext) -> None: ...

    tool = tool_of(any_keyword)
    given = {"a": 1, "path": "/etc", "deep": {"b": [1]}}
    assert tool.dump(tool.validate(json.dumps(given).encode())) == given
    tool = tool_of(hinted)
    assert tool.dump(tool.validate(b'{"a":1,"p":{"x":2}}')) == {"a": 1, "p": {"x": 2, "y": 0}}
    tool = tool_of(context)
    assert tool.dump(tool.validate(b'{"a":1}')) == {"a": 1}


# What is bound is not asked for


async def test_what_a_partial_binds_is_the_programs() -> None:
    def find(tenant: str, table: str, key: int = 0) -> str:
        """Find a row."""
        return f"{tenant}/{table}/{key}"

    tool = tool_of(functools.partial(functools.partial(find, "acme"), table="users"))
    assert tool.spec.description == "Find a row."
    assert set(tool.spec.input_schema["properties"]) == {"key"}
    assert await call(tool, {"key": 7}) == "acme/users/7"
    for name in ("tenant", "table"):
        with pytest.raises(ArgumentsError, match=f"{name}: "):
            await call(tool, {name: "other"})


async def test_an_object_that_has_a_func_is_no_partial() -> None:
    class Wrapper:
        """Counts."""

        def __init__(self) -> None:
            self.func = len

        def __call__(self, by: int) -> int:
            return 10 * by

    tool = tool_of(Wrapper())
    assert tool.spec.input_schema["properties"]["by"]["type"] == "integer"
    assert tool.spec.description == "Counts."
    assert await call(tool, {"by": 2}) == 20


async def test_decorated_functions_keep_their_hints_and_run_where_they_belong() -> None:
    loop = threading.get_ident()

    def doubled(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapper(**keywords: Any) -> Any:
            result = function(**keywords)
            return 2 * (await result if hasattr(result, "__await__") else result)

        return wrapper

    async def in_loop(a: int) -> int:
        assert threading.get_ident() == loop
        return a

    for handler in (doubled(in_loop), doubled(lambda a: a)):
        tool = tool_of(handler)
        assert set(tool.spec.input_schema["properties"]) == {"a"}
        assert await call(tool, {"a": 2}) == 4


# What can be no tool


def by_position(a: int, /) -> None: ...
def many(*a: int) -> None: ...
def context_by_position(ctx: ToolContext, /) -> None: ...
def no_schema(a: threading.Lock) -> None: ...
def unknown_hint(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def items(a: int) -> Any:
    yield a


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (by_position, "parameter 'a' can't be given by name"),
        (many, "parameter 'a' can't be given by name"),
        (context_by_position, "parameter 'ctx' can't be given by name"),
        (no_schema, "no schema from its type hints"),
        (unknown_hint, "its type hints can't be read: name 'Nowhere' is not defined"),
        (items, "a plain generator can't be a handler"),
    ],
)
def test_what_is_refused_says_why(handler: Callable[..., Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"tool 't': {said}"):
        tool_of(handler)


# Docstrings


def google() -> None:
    """Finds things.

    In two paragraphs: with a colon.

    Args:
        plain: The first.
        typed (int): The second,
            in two lines: really
              note: three.
        nested (dict(str, list(int))): The third.
        later:
            On its own line.
        *many: The stars are no part of the name.
        **rest: Neither here.
        not an item
    Returns:
        nothing: at all

    Raises:
        KeyError: never
    """


def sphinx() -> None:
    """Finds things.

    :param plain: The first,
        in two lines.
    :type plain: int
    :param int typed: The second: with a colon.
    :return: nothing
        more: of it
    :rtype: None
    :raises KeyError: never
    :param last: The last.
    """


def nothing() -> None: ...


def test_docstrings() -> None:
    assert describe(google) == (
        "Finds things.\n\nIn two paragraphs: with a colon.",
        {
            "plain": "The first.",
            "typed": "The second, in two lines: really note: three.",
            "nested": "The third.",
            "later": "On its own line.",
            "many": "The stars are no part of the name.",
            "rest": "Neither here. not an item",
        },
    )
    assert describe(sphinx) == (
        "Finds things.",
        {
            "plain": "The first, in two lines.",
            "typed": "The second: with a colon.",
            "last": "The last.",
        },
    )
    assert describe(nothing) == ("", {})
