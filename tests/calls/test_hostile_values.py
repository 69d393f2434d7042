"""Results, arguments and names that can't be passed on: one call fails, the next is served."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel
from serving import outcome, seen, serving

from enclave_broker_core import (
    ArgumentsError,
    Broker,
    BrokerError,
    Event,
    ResultTooLargeError,
    SessionLimits,
    ToolContext,
    ToolError,
)

pytestmark = pytest.mark.anyio

SHORT = 0.05


BIG = "x" * (64 * 1024 * 1024)


@dataclass
class Held:
    text: str


class Model(BaseModel):
    text: str


class Text(str):
    __slots__ = ()


class Words(list[str]):
    pass


@pytest.mark.parametrize(
    "value",
    [
        BIG,
        {"a": [BIG]},
        [BIG] * 100,
        Held(BIG),
        [Model(text=BIG)],
        Text(BIG),
        Words([BIG] * 100),
        deque([BIG] * 100),
        bytearray(BIG, "ascii"),
        {BIG: 1},
    ],
    ids=lambda value: type(value).__name__,
)
async def test_one_that_returns_too_much(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from enclave_broker_core import json_form

    broker = Broker()

    @broker.tool("t")
    async def much() -> Any:
        return value

    def no_copy(*args: Any, **kwargs: Any) -> bytes:
        raise AssertionError("the value was written out before it was refused")

    async with serving(broker) as session:
        with monkeypatch.context() as patched:
            patched.setattr(json_form, "to_json", no_copy)
            with pytest.raises(ResultTooLargeError, match="the result of t is too large"):
                await session.call("t")
        assert await outcome(session) == ("error", "RESULT_TOO_LARGE")


def cyclic() -> Any:
    value: list[Any] = []
    value.append({"a": value})
    return value


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def many() -> dict[str, int]:
    return {f"k{n}": n for n in range(300_000)}


def endless() -> Iterator[int]:
    yield from itertools.count()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "JSON has no NaN or Infinity"),
        ({"a": [1, float("inf")]}, r"NaN or Infinity \(at a\.1\)"),
        ("\ud800", "surrogates"),
        ({"\udfff": 1}, "surrogates"),
        (cyclic(), "nested deeper"),
        (deep(2000), "nested deeper"),
        (object(), "can't hold a"),
        (deep, "can't hold a"),
        (10**5000, "more than 4300 digits"),
        (endless(), "a generator"),
        (itertools.count(), "count"),
    ],
    ids=["nan", "inf", "surrogate", "key", "cycle", "deep", "object", "function", "int", "g", "i"],
)
async def test_one_that_returns_what_json_can_not_hold(value: Any, said: str) -> None:
    broker = Broker()

    @broker.tool("t")
    async def odd() -> Any:
        return value

    async with serving(broker) as session:
        with pytest.raises(ToolError, match=said) as caught:
            await session.call("t")
        assert caught.value.message.startswith("the result of t can't be passed on: ")
        assert await outcome(session) == ("error", "TOOL_ERROR")


async def test_a_generator_without_an_end_is_stopped_at_the_size_of_a_result() -> None:
    broker = Broker()

    @broker.tool("t")
    async def endless() -> AsyncIterator[str]:
        while True:
            yield "x" * 100

    async with serving(broker, max_result_bytes=1000) as session:
        with pytest.raises(ResultTooLargeError):
            await session.call("t")
        assert await outcome(session) == ("error", "RESULT_TOO_LARGE")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"n": deep(2000)}, "nested deeper than 100 levels"),
        ({"n": BIG}, "too large"),
        ({BIG: 1}, "too large"),
        (many, "too large"),
        ({"n": cyclic()}, "nested deeper"),
        ({"n": float("nan")}, "NaN"),
        ({"n": "\ud800"}, "surrogates"),
        ({"n": object()}, "can't hold a"),
        ({"n": endless()}, "a generator"),
    ],
    ids=["deep", "big", "key", "many", "cycle", "nan", "surrogate", "object", "generator"],
)
async def test_arguments_that_are_hostile(args: Any, said: str) -> None:
    broker = Broker()
    async with serving(broker) as session:
        with pytest.raises(ArgumentsError, match=said):
            # What takes time to make is not made by every process that finds the tests.
            await session.call("next", args() if callable(args) else args)
        assert await outcome(session) == ("refused", "VALIDATION_ERROR")
        assert len(str(await seen(session))) < 2000


@pytest.mark.parametrize("name", ["\ud800", "x" * 1_000_000, "", "a\x00b", '"quoted"', "ünï"])
async def test_names_that_are_hostile(name: str) -> None:
    broker = Broker()
    async with serving(broker) as session:
        with pytest.raises(BrokerError) as caught:
            await session.call(name)
        assert caught.value.code in ("UNKNOWN_TOOL", "VALIDATION_ERROR")
        events = await seen(session)
        assert [event.type for event in events[1:]] == ["tool_call", "tool_result_applied"]
        for event in events:
            assert Event.from_json(event.to_json()).payload == event.payload
        assert len(str(events)) < 2000
        assert (await session.history())[0].outcome == "refused"


async def test_what_it_shows_meanwhile_is_held_to_the_same_rules() -> None:
    broker = Broker()

    @broker.tool("t")
    async def odd(how: str, ctx: ToolContext) -> None:
        if how == "nan":
            await ctx.partial(float("nan"))
        elif how == "log":
            await ctx.log("info", "x", {"a": float("nan")})
        elif how == "surrogate":
            await ctx.log("info", "\ud800")
        else:
            await ctx.partial("x" * 2000)

    async with serving(broker, limits=SessionLimits(max_result_bytes=1000)) as session:
        for how in ("nan", "log", "surrogate"):
            with pytest.raises(ToolError):
                await session.call("t", {"how": how})
        with pytest.raises(ResultTooLargeError):
            await session.call("t", {"how": "much"})
        assert {event.type for event in await seen(session)} == {
            "session_init",
            "tool_call",
            "tool_result_applied",
        }
