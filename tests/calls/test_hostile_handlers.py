"""Handlers that do what they should not: the broker ends their call and serves the next."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from serving import outcome, seen, serving

from enclave_broker_core import (
    AccessController,
    AccessDeniedError,
    Broker,
    BrokerError,
    DeadlineExceededError,
    SessionCancelledError,
    SessionState,
    ToolContext,
    ToolError,
    ToolTimeoutError,
)

pytestmark = pytest.mark.anyio

SHORT = 0.05


async def test_one_that_never_returns() -> None:
    broker = Broker()
    gone = anyio.Event()

    @broker.tool("t", timeout=SHORT)
    async def never() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            gone.set()

    async with serving(broker) as session:
        with pytest.raises(ToolTimeoutError, match=r"t did not answer within 0\.05 s"):
            await session.call("t")
        assert gone.is_set()
        assert await outcome(session) == ("error", "TOOL_TIMEOUT")
    assert broker.stats().abandoned_handlers == 0


RAISED = [
    ValueError("why"),
    BaseException("why"),
    SystemExit("why"),
    GeneratorExit("why"),
    KeyboardInterrupt("why"),
    StopAsyncIteration("why"),
    ExceptionGroup("why", [ValueError("inner")]),
]


@pytest.mark.parametrize("seconds", [None, 30], ids=["no deadline", "deadline"])
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after waiting"])
async def test_one_that_raises(
    waits: bool, seconds: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker()

    async def bad(number: int) -> None:
        if waits:
            await checkpoint()
        raise RAISED[number]

    broker.tool("t", **({} if seconds is None else {"timeout": seconds}))(bad)
    async with serving(broker) as session:
        for number in range(len(RAISED)):
            caplog.clear()
            with pytest.raises(ToolError, match="why") as caught:
                await session.call("t", {"number": number})
            assert await outcome(session) == ("error", "TOOL_ERROR")
            assert "Traceback" not in str(await seen(session))
            assert "Traceback" not in caught.value.message
            assert "Traceback" in caplog.text
            assert "in bad" in caplog.text
            assert await session.call("next", {"n": number}) == number


@pytest.mark.parametrize("raised", [ValueError("why"), SystemExit("why"), StopIteration("why")])
async def test_a_plain_one_that_raises(raised: BaseException) -> None:
    broker = Broker()

    @broker.tool("t")
    def bad() -> None:
        raise raised

    async with serving(broker) as session:
        with pytest.raises(ToolError):
            await session.call("t")
        assert await outcome(session) == ("error", "TOOL_ERROR")


async def test_one_whose_exception_has_no_text() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    broker = Broker()

    @broker.tool("t")
    async def bad() -> None:
        raise MuteError

    async with serving(broker) as session:
        with pytest.raises(ToolError, match="MuteError"):
            await session.call("t")


async def test_one_whose_message_json_can_not_hold() -> None:
    broker = Broker()

    @broker.tool("t")
    async def bad() -> None:
        raise ValueError("a \ud800 b" + "c" * 100_000)

    async with serving(broker) as session:
        with pytest.raises(ToolError, match=r"a \? b") as caught:
            await session.call("t")
        caught.value.message.encode()
        assert len(caught.value.message) == 2000
        assert await outcome(session) == ("error", "TOOL_ERROR")
        assert (await seen(session))[-1].payload["message"] == caught.value.message


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("waits", [False, True])
async def test_one_that_raises_a_cancellation_which_nobody_asked_for(waits: bool) -> None:
    broker = Broker()

    @broker.tool("t")
    async def bad() -> None:
        if waits:
            await checkpoint()
        raise asyncio.CancelledError

    async with serving(broker) as session:
        with pytest.raises(ToolError):
            await session.call("t")
        assert await outcome(session) == ("error", "TOOL_ERROR")


@pytest.mark.parametrize("how", ["timeout", "session"])
async def test_one_that_swallows_its_cancellation(how: str) -> None:
    broker = Broker()
    broker._guarded.grace = SHORT
    let = []

    @broker.tool("t", **({"timeout": SHORT} if how == "timeout" else {}))
    async def stubborn(ctx: ToolContext) -> None:
        started.set()
        while True:
            try:
                await anyio.sleep_forever()
            except BaseException as error:
                let.append(type(error).__name__)
                if len(let) > 5000:
                    raise

    started = anyio.Event()
    async with serving(broker) as session:
        if how == "timeout":
            with pytest.raises(ToolTimeoutError, match="and did not stop then"):
                await session.call("t")
        else:
            async with broker.session() as other, anyio.create_task_group() as tasks:

                async def call() -> None:
                    with pytest.raises(SessionCancelledError, match="enough"):
                        await other.call("t")

                tasks.start_soon(call)
                await started.wait()
                await other.cancel("enough")
                assert not other.busy
        assert let
    assert broker.stats().abandoned_handlers == 1


async def test_one_that_answers_its_cancellation_with_a_result() -> None:
    broker = Broker()

    @broker.tool("t", timeout=SHORT)
    async def stubborn() -> str:
        with anyio.CancelScope(shield=True):
            try:
                await anyio.sleep(2 * SHORT)
            finally:
                return "late"  # noqa: B012

    async with serving(broker) as session:
        with pytest.raises(ToolTimeoutError):
            await session.call("t")


async def test_one_that_is_cancelled_in_the_middle_by_its_caller() -> None:
    broker = Broker()
    started, gone = anyio.Event(), anyio.Event()

    @broker.tool("t")
    async def wait() -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            gone.set()

    async with serving(broker) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.call, "t")
            await started.wait()
            tasks.cancel_scope.cancel()
        assert gone.is_set()
        assert await outcome(session) == ("cancelled", "CANCELLED")
        assert (await seen(session))[-1].payload["code"] == "CANCELLED"
        assert session.state.value == "running"


async def test_one_that_cancels_its_own_session() -> None:
    broker = Broker()
    went_on = []

    @broker.tool("t")
    async def bad() -> None:
        await (await broker.get_session(session.id)).cancel("by itself")
        went_on.append(1)

    async with serving(broker) as other:
        async with broker.session() as session:
            with pytest.raises(SessionCancelledError, match="by itself"):
                await session.call("t")
            assert session.state.value == "cancelled"
            assert (await session.history())[0].error_code == "SESSION_CANCELLED"
            assert [e.type async for e in session.events()].count("final") == 1
        assert other.state.value == "running"
    assert went_on == []


async def test_one_that_ends_its_own_session_and_then_waits_for_nothing() -> None:
    """The cancellation that stops it must not hit what its caller does next."""
    broker = Broker()

    @broker.tool("bad")
    async def bad() -> None:
        raise ValueError("no luck")

    @broker.tool("t")
    async def t(ctx: ToolContext) -> None:
        await checkpoint()
        await ctx.call("bad")

    async with serving(broker), broker.session(cancel_on_first_error=True) as session:
        with pytest.raises(ToolError):
            await session.call("t")
        await checkpoint()
        assert session.state is SessionState.CANCELLED


async def test_one_that_calls_the_broker_again_by_the_same_rules() -> None:
    rules = [{"pattern": "secret:*", "allow": False}]
    broker = Broker(access=AccessController(rules, default="allow"))

    @broker.tool("outer")
    async def outer(name: str, ctx: ToolContext) -> Any:
        return [await ctx.call(name, {"n": 5})]

    @broker.tool("secret:a")
    async def forbidden(n: int) -> int:
        return n

    async with serving(broker, max_tool_calls=6) as session:
        assert await session.call("outer", {"name": "next"}) == [5]
        with pytest.raises(AccessDeniedError):
            await session.call("outer", {"name": "secret:a"})
        assert [(r.tool, r.outcome) for r in await session.history()] == [
            ("next", "ok"),
            ("outer", "ok"),
            ("secret:a", "refused"),
            ("outer", "refused"),
        ]


async def test_one_that_calls_itself_for_ever() -> None:
    broker = Broker()

    @broker.tool("t")
    async def again(ctx: ToolContext) -> Any:
        return await ctx.call("t")

    async with serving(broker) as session:
        async with broker.session(max_tool_calls=10) as other:
            with pytest.raises(BrokerError) as caught:
                await other.call("t")
            assert caught.value.code == "MAX_TOOL_CALLS"
        with pytest.raises(ToolError, match="calls within calls: no more than 16"):
            await session.call("t")


async def test_a_deadline_of_the_session_holds_for_every_tool() -> None:
    broker = Broker()
    reached = logging.getLogger("test")

    @broker.tool("t", timeout=30)
    async def never() -> None:
        reached.debug("here")
        await anyio.sleep_forever()

    async with serving(broker, call_timeout=SHORT) as session:
        with pytest.raises(DeadlineExceededError):
            await session.call("t")
