"""What a handler may be, what is made of its hints, and what its caller is told."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # typing's own can't be read before Python 3.12

from enclave_broker_core import ArgumentsError, Broker, ConfigError, ToolContext, ToolSpec

pytestmark = pytest.mark.anyio


class Address(BaseModel):
    city: str
    code: int = Field(ge=1000)


class Size(TypedDict):
    width: int
    height: int


@dataclasses.dataclass
class Point:
    x: int
    y: int = 5


def spec_of(handler: Callable[..., Any], **options: Any) -> ToolSpec:
    broker = Broker()
    broker.tool("t", **options)(handler)
    return broker.list_tools()[0]


async def call(handler: Callable[..., Any], args: dict[str, Any], **options: Any) -> Any:
    broker = Broker()
    broker.tool("t", **options)(handler)
    async with broker, broker.session() as session:
        return await session.call("t", args)


async def refused(
    handler: Callable[..., Any], args: dict[str, Any], **options: Any
) -> ArgumentsError:
    with pytest.raises(ArgumentsError) as caught:
        await call(handler, args, **options)
    return caught.value


async def async_add(a: int, b: int = 2) -> int:
    return a + b


def plain_add(a: int, b: int = 2) -> int:
    return a + b


def plain_sum(a: int, more: int, b: int = 2) -> int:
    return a + b + more


async def async_sum(a: int, more: int, b: int = 2) -> int:
    return a + b + more


class Adder:
    async def __call__(self, a: int, b: int = 2) -> int:
        return a + b

    def method(self, a: int, b: int = 2) -> int:
        return a + b


@pytest.mark.parametrize(
    "handler",
    [
        async_add,
        plain_add,
        lambda a, b=2: a + b,
        functools.partial(async_sum, more=0),
        functools.partial(plain_sum, more=0),
        Adder(),
        Adder().method,
    ],
    ids=["async", "plain", "lambda", "partial-async", "partial", "object", "method"],
)
async def test_every_callable_is_called_by_name(handler: Callable[..., Any]) -> None:
    assert await call(handler, {"a": 1}) == 3
    if not isinstance(handler, functools.partial):
        assert await call(handler, {"a": 1, "b": 10}) == 11


async def test_a_plain_function_that_returns_a_coroutine_is_awaited() -> None:
    def later(a: int) -> Any:
        return async_add(a)

    assert await call(later, {"a": 1}) == 3


async def test_an_async_generator_is_shown_item_by_item_and_is_a_list_in_the_end() -> None:
    async def count(n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    broker = Broker(tools={"count": count})
    async with broker, broker.session() as session:
        assert await session.call("count", {"n": 3}) == [0, 1, 2]
        await session.complete()
        parts = [e.payload async for e in session.events() if e.type == "partial_result"]
        call_id = (await session.history())[0].call_id
    assert parts == [{"path": [call_id, str(n)], "data": n, "hasNext": True} for n in range(3)]
    assert spec_of(count).output_schema == {"type": "array", "items": {"type": "integer"}}


async def test_schemas_come_from_hints() -> None:
    async def move(
        address: Address,
        size: Size,
        to: Point,
        on: date,
        limit: Annotated[int, Field(gt=0, description="how many")] = 7,
        tags: list[str] = ["a"],  # noqa: B006 - a mutable default must not be shared
    ) -> dict[str, Any]:
        tags.append("b")
        kinds = [type(v).__name__ for v in (address, size, to, on)]
        return {"kinds": kinds, "y": to.y, "limit": limit, "tags": tags}

    args = {
        "address": {"city": "Bonn", "code": 5311},
        "size": {"width": 1, "height": 2},
        "to": {"x": 1},
        "on": "2026-01-31",
    }
    broker = Broker(tools={"t": move})
    async with broker, broker.session() as session:
        for _ in range(2):
            assert await session.call("t", args) == {
                "kinds": ["Address", "dict", "Point", "date"],
                "y": 5,
                "limit": 7,
                "tags": ["a", "b"],
            }
    schema = broker.list_tools()[0].input_schema
    assert schema["required"] == ["address", "size", "to", "on"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["limit"] == {
        "default": 7,
        "description": "how many",
        "exclusiveMinimum": 0,
        "title": "Limit",
        "type": "integer",
    }
    assert "title" not in schema


async def test_every_wrong_field_is_told_and_never_its_value() -> None:
    async def move(address: Address, size: Size, to: Point, n: int = 1) -> None: ...

    secret = "do-not-repeat-me"
    error = await refused(
        move,
        {
            "address": {"city": 3, "code": secret},
            "size": {"width": secret},
            "n": secret,
            "other": secret,
        },
    )
    assert error.code == "VALIDATION_ERROR"
    assert dict(error.fields) == {
        "address.city": "Input should be a valid string",
        "address.code": "Input should be a valid integer, unable to parse string as an integer",
        "size.width": "Input should be a valid integer, unable to parse string as an integer",
        "size.height": "Field required",
        "to": "Field required",
        "n": "Input should be a valid integer, unable to parse string as an integer",
        "other": "Unexpected keyword argument",
    }
    assert error.details[0] == {
        "type": "validation_info",
        "field": error.fields[0][0],
        "reason": error.fields[0][1],
    }
    assert secret not in str(error.to_wire())


async def test_of_very_many_wrong_fields_the_first_are_told() -> None:
    async def t(n: int) -> None: ...

    error = await refused(t, {f"f{number}": 1 for number in range(200)})
    assert len(error.fields) == 20
    assert error.message.endswith("; and 181 more")


async def test_arguments_that_are_no_object_are_refused() -> None:
    async with Broker(tools={"t": async_add}) as broker, broker.session() as session:
        with pytest.raises(ArgumentsError, match="must be an object, by name"):
            await session.call("t", [1, 2])  # type: ignore[arg-type]
        assert await session.call("t", {"a": 1}) == 3


async def test_a_model_for_all_arguments() -> None:
    async def where(address: Address, context: ToolContext) -> str:
        return f"{address.city} {context.tool}"

    assert await call(where, {"city": "Bonn", "code": 5311}, model=Address) == "Bonn t"
    error = await refused(where, {"city": "Bonn", "code": 3}, model=Address)
    assert error.fields == (("code", "Input should be greater than or equal to 1000"),)
    assert spec_of(where, model=Address).input_schema == Address.model_json_schema()


SCHEMA = {
    "properties": {"n": {"type": "integer", "maximum": 9}, "s": {"type": "string"}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "plain"])
async def test_a_json_schema(is_async: bool) -> None:
    pytest.importorskip("jsonschema_rs", reason="pip install jsonschema-rs")

    async def double(args: dict[str, Any], context: ToolContext) -> list[Any]:
        return [args["n"] * 2, context.tool]

    def plain(args: dict[str, Any]) -> list[Any]:
        return [args["n"] * 2, "t"]

    handler = double if is_async else plain
    assert await call(handler, {"n": 4}, schema=SCHEMA) == [8, "t"]
    error = await refused(handler, {"n": 12345, "s": 54321}, schema=SCHEMA)
    assert [field for field, _ in error.fields] == ["n", "s"]
    assert "12345" not in error.message
    assert "54321" not in error.message
    missing = await refused(handler, {}, schema=SCHEMA)
    assert missing.fields == (("", '"n" is a required property'),)
    assert spec_of(handler, schema=SCHEMA).input_schema == {"type": "object", **SCHEMA}


def test_a_json_schema_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(ConfigError, match="pip install jsonschema-rs"):
        Broker().tool("t", schema=SCHEMA)(plain_add)


def test_a_json_schema_that_is_none() -> None:
    pytest.importorskip("jsonschema_rs", reason="pip install jsonschema-rs")
    with pytest.raises(ConfigError, match="'t': not a usable JSON Schema"):
        Broker().tool("t", schema={"type": "nothing"})(plain_add)


def test_descriptions_come_from_docstrings() -> None:
    def get(id: int, deep: bool = False) -> str:
        """Look a user up.

        Args:
            id: The user's number.
            deep: Whether to load
                all of it.
        """
        return ""

    spec = spec_of(get)
    assert spec.description == "Look a user up."
    assert spec.input_schema["properties"]["id"]["description"] == "The user's number."
    assert spec.input_schema["properties"]["deep"]["description"] == "Whether to load all of it."
    assert spec.output_schema == {"type": "string"}
    assert spec_of(get, description="Other").description == "Other"


async def test_the_context_comes_by_annotation() -> None:
    async def t(n: int, ctx: ToolContext) -> dict[str, Any]:
        await ctx.log("info", "working", {"n": n})
        await ctx.progress("sending", bytes_received=1, total_bytes=2)
        await ctx.partial({"half": n})
        return {
            "id": ctx.call_id,
            "tool": ctx.tool,
            "session": ctx.session.id,
            "metadata": dict(ctx.session.metadata),
            "in time": 0 < (ctx.remaining() or 0) <= 30,
        }

    broker = Broker()
    broker.tool("t", timeout=30)(t)
    assert list(broker.list_tools()[0].input_schema["properties"]) == ["n"]
    async with broker, broker.session(metadata={"k": 1}) as session:
        got = await session.call("t", {"n": 1})
        record = (await session.history())[0]
        await session.complete()
        types = [event.type async for event in session.events()]
    assert got == {
        "id": record.call_id,
        "tool": "t",
        "session": session.id,
        "metadata": {"k": 1},
        "in time": True,
    }
    middle = ["log", "tool_progress", "partial_result"]
    assert types == ["session_init", "tool_call", *middle, "tool_result_applied", "final"]


async def test_a_result_is_its_json_form() -> None:
    shared = {"list": [1]}

    async def t() -> Any:
        return {
            "at": datetime(2026, 1, 31, 12, tzinfo=UTC),
            "id": UUID(int=5),
            "set": {3},
            "model": Address(city="Bonn", code=5311),
            "point": Point(1),
            "tuple": (1, None),
            "shared": shared,
        }

    got = await call(t, {})
    assert got == {
        "at": "2026-01-31T12:00:00Z",
        "id": "00000000-0000-0000-0000-000000000005",
        "set": [3],
        "model": {"city": "Bonn", "code": 5311},
        "point": {"x": 1, "y": 5},
        "tuple": [1, None],
        "shared": {"list": [1]},
    }
    got["shared"]["list"].append(2)
    assert shared == {"list": [1]}


async def test_any_keyword_where_the_handler_takes_any() -> None:
    async def t(a: int, **rest: Any) -> Any:
        return [a, rest]

    assert await call(t, {"a": 1, "b": 2, "self": 3, "class": 4}) == [
        1,
        {"b": 2, "self": 3, "class": 4},
    ]
    assert spec_of(t).input_schema["additionalProperties"] is True
