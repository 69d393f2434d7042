"""What a middleware may know of a call: its tool and its time."""

from __future__ import annotations

from typing import Any

import pytest

from enclave_broker_core import Broker, SessionLimits, ToolCall, ToolContext, ToolSpec
from enclave_broker_core.contracts import CallNext

pytestmark = pytest.mark.anyio


async def test_it_knows_the_tool_of_any_name() -> None:
    seen: list[ToolSpec | None] = []

    async def looks(call: ToolCall, call_next: CallNext) -> Any:
        seen.extend([call.spec, call.replace(name="b").spec, call.replace(name="c").spec])
        return await call_next(call)

    broker = Broker(middleware=[looks])

    @broker.tool("a", read_only=True)
    async def a() -> str:
        return "a"

    @broker.tool("b", secrets=["TOKEN"])
    async def b() -> str:
        return "b"

    async with broker, broker.session() as session:
        await session.call("a")
        await session.call("a")
    assert [spec and (spec.name, spec.read_only, spec.secrets) for spec in seen] == [
        ("a", True, ()),
        ("b", False, ("TOKEN",)),
        None,
    ] * 2
    assert seen[0] is seen[3]


async def test_its_time_ends_with_the_session() -> None:
    left: list[float] = []

    async def looks(call: ToolCall, call_next: CallNext) -> Any:
        left.append(call.remaining())
        return await call_next(call)

    broker = Broker(middleware=[looks])

    @broker.tool("a", timeout=1)
    async def a() -> None:
        return None

    async with broker:
        async with broker.session(timeout=1000) as session:
            await session.call("a")
            assert session.remaining() <= left[0] <= 1000
        async with broker.session(timeout=1000, call_timeout=50) as session:
            await session.call("a")
    assert 0 < left[1] <= 50


async def test_a_call_timeout_counts_from_where_the_call_began() -> None:
    left: list[float] = []

    async def looks(call: ToolCall, call_next: CallNext) -> Any:
        call.frame.started -= 20  # as if it had taken so long until here
        left.append(call.remaining())
        call.frame.started -= 20
        left.append(call.remaining())

    broker = Broker(middleware=[looks], limits=SessionLimits(call_timeout=30))

    @broker.tool("a")
    async def a() -> None:
        return None

    async with broker, broker.session() as session:
        await session.call("a")
    assert 9 < left[0] <= 10
    assert left[1] == 0.0


async def test_it_knows_what_is_called_by_a_tool() -> None:
    seen: list[tuple[str, int]] = []

    async def looks(call: ToolCall, call_next: CallNext) -> Any:
        seen.append((call.name, call.depth))
        return await call_next(call)

    broker = Broker(middleware=[looks])

    @broker.tool("outer")
    async def outer(ctx: ToolContext) -> None:
        await ctx.call("inner")

    @broker.tool("inner")
    async def inner() -> None:
        return None

    async with broker, broker.session() as session:
        await session.call("outer")
    assert seen == [("outer", 0), ("inner", 1)]
