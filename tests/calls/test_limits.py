"""Every limit of a session, and every rate limit, is hit and holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    Admission,
    ArgumentsError,
    Broker,
    BrokerError,
    ConfigError,
    DeadlineExceededError,
    MaxToolCallsError,
    PluginError,
    Principal,
    RateLimitedError,
    RateLimiter,
    ResultTooLargeError,
    Session,
    SessionCancelledError,
    SessionExpiredError,
    SessionLimits,
    ToolTimeoutError,
    Window,
)

pytestmark = pytest.mark.anyio

SHORT = 0.05


def broker_with(**options: Any) -> Broker:
    broker = Broker(**options)

    @broker.tool("t")
    async def t(n: int = 0, text: str = "") -> str:
        return "x" * n

    @broker.tool("other")
    async def other() -> str:
        return "other"

    @broker.tool("wait")
    async def wait() -> None:
        await anyio.sleep_forever()

    return broker


async def ends(session: Session) -> dict[str, Any]:
    """Waits until the session has ended; its final event."""
    async for event in session.events():
        if event.type == "final":
            return event.payload
    raise AssertionError("the log has no final event")


# Time


async def test_timeout_is_the_sessions_whole_life() -> None:
    async with broker_with() as broker, broker.session(timeout=SHORT) as session:
        with pytest.raises(SessionExpiredError, match=r"time of 0\.05 s is over"):
            await session.call("wait")
        final = await ends(session)
        assert final["error"]["code"] == "SESSION_EXPIRED"
        assert session.state.value == "failed"
        with pytest.raises(SessionExpiredError):
            await session.call("t")


async def test_idle_timeout_is_the_time_without_a_call() -> None:
    async with broker_with() as broker, broker.session(idle_timeout=SHORT) as session:
        # A call under way, however long, is not idleness.
        with pytest.raises(ToolTimeoutError):
            broker.tool("slow", timeout=3 * SHORT)(anyio.sleep_forever)
            await session.call("slow")
        assert session.state.value == "running"
        final = await ends(session)
        assert final["error"] == {
            "code": "SESSION_EXPIRED",
            "message": "the session was idle for 0.05 s",
        }


async def test_call_timeout_is_each_calls() -> None:
    async with broker_with() as broker, broker.session(call_timeout=SHORT) as session:
        with pytest.raises(DeadlineExceededError, match=r"wait did not answer within 0\.05 s"):
            await session.call("wait")
        assert await session.call("other") == "other"


@pytest.mark.parametrize(
    ("tool", "call", "error"), [(SHORT, 30, ToolTimeoutError), (30, SHORT, DeadlineExceededError)]
)
async def test_the_lesser_of_the_tools_time_and_the_calls_holds(
    tool: float, call: float, error: type[BrokerError]
) -> None:
    broker = broker_with()
    broker.tool("slow", timeout=tool)(anyio.sleep_forever)
    async with broker, broker.session(call_timeout=call) as session:
        with pytest.raises(error):
            await session.call("slow")


# Counts and sizes


async def test_max_tool_calls_counts_attempts() -> None:
    async with broker_with() as broker, broker.session(max_tool_calls=3) as session:
        assert await session.call("t") == ""
        with pytest.raises(BrokerError):
            await session.call("unknown")
        with pytest.raises(ArgumentsError):
            await session.call("t", {"n": "x"})
        for _ in range(2):
            with pytest.raises(MaxToolCallsError, match="the 3 tool calls of this session"):
                await session.call("t")
        assert [call.error_code for call in await session.history()] == [
            None,
            "UNKNOWN_TOOL",
            "VALIDATION_ERROR",
            "MAX_TOOL_CALLS",
            "MAX_TOOL_CALLS",
        ]
        assert session.info().tool_calls == 5


async def test_max_argument_bytes() -> None:
    async with broker_with() as broker, broker.session(max_argument_bytes=30) as session:
        assert await session.call("t", {"text": "x" * 19}) == ""  # {"text":"…"} of 30 bytes
        with pytest.raises(ArgumentsError, match="the arguments of t are too large"):
            await session.call("t", {"text": "x" * 20})
        with pytest.raises(ArgumentsError, match="are too large"):
            await session.call("t", {"text": "ä" * 10})
        assert [call.arguments for call in await session.history()][1:] == [{}, {}]


async def test_max_result_bytes() -> None:
    async with broker_with() as broker, broker.session(max_result_bytes=30) as session:
        assert await session.call("t", {"n": 28}) == "x" * 28  # and two quotes
        with pytest.raises(ResultTooLargeError, match="the result of t is too large"):
            await session.call("t", {"n": 29})


async def test_cancel_on_first_error() -> None:
    async with broker_with() as broker:
        async with broker.session(cancel_on_first_error=True) as session:
            assert await session.call("t") == ""
            async with anyio.create_task_group() as tasks:

                async def other_call() -> None:
                    with pytest.raises(SessionCancelledError):
                        await session.call("wait")

                tasks.start_soon(other_call)
                while not session.busy:
                    await anyio.lowlevel.checkpoint()
                with pytest.raises(BrokerError, match="there is no tool"):
                    await session.call("unknown")
            final = await ends(session)
            assert final["error"]["code"] == "SESSION_CANCELLED"
            assert final["error"]["message"].startswith("cancelled by its first error: there is no")
        async with broker.session() as session:
            with pytest.raises(BrokerError):
                await session.call("unknown")
            assert await session.call("t") == ""


async def test_a_limit_that_is_none_is_refused() -> None:
    async with broker_with() as broker:
        for field in ("timeout", "max_tool_calls", "max_result_bytes", "run_timeout"):
            for value in (0, -1, "x", float("nan")):
                with pytest.raises(ArgumentsError) as caught:
                    await broker.create_session(**{field: value})
                assert [name for name, _ in caught.value.fields] == [field]
        assert broker.stats().open_sessions == 0


# Code: on asyncio only, as the runtime is


@pytest.fixture
async def coding() -> AsyncIterator[Broker]:
    async with broker_with(runtime="monty") as broker:
        yield broker


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("limits", "code", "expected", "said"),
    [
        ({"run_timeout": 0.2}, "await call_tool('wait')", "DEADLINE_EXCEEDED", "longer than 0.2 s"),
        ({"run_timeout": 0.2}, "while True: pass", "DEADLINE_EXCEEDED", ""),
        ({"max_output_bytes": 99}, "print('x' * 99)", "RESULT_TOO_LARGE", "more than 99 bytes"),
        ({"max_result_bytes": 100}, "'x' * 99", "RESULT_TOO_LARGE", "the result of the run"),
        ({"max_code_bytes": 9}, "1 + 1 + 1 + 1", "RUNTIME_ERROR", "longer than 9 bytes"),
        ({"max_memory_bytes": 1_000_000}, "x = 'x' * 5_000_000", "RUNTIME_ERROR", "memory"),
        ({"max_tool_calls": 1}, "await call_tool('t')\nawait call_tool('t')", "RUNTIME_ERROR", ""),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_limits_of_code(
    coding: Broker, limits: dict[str, Any], code: str, expected: str, said: str
) -> None:
    async with coding.session(limits=SessionLimits(**limits)) as session:
        assert (await session.run("1")).result == 1
        outcome = await session.run(code)
        assert not outcome.ok
        assert isinstance(outcome.error, BrokerError)
        assert outcome.error.code == expected
        assert said in outcome.error.message
        assert (await session.run("2")).result == 2


# Rates


ONE = {"max_calls": 1, "window": 60}
ANN = Principal(id="ann", tenant="x")
BOB = Principal(id="bob", tenant="x")
EVE = Principal(id="eve", tenant="y")


@pytest.mark.parametrize(
    ("rates", "scope", "other", "admitted"),
    [
        ({"global_": ONE}, "global", EVE, False),
        ({"per_session": ONE}, "session", ANN, True),
        ({"per_principal": ONE}, "principal", ANN, False),
        ({"per_principal": ONE}, "principal", BOB, True),
        ({"per_tenant": ONE}, "tenant", BOB, False),
        ({"per_tenant": ONE}, "tenant", EVE, True),
        ({"per_tool": {"t": ONE}}, "tool t", EVE, False),
        ({"per_tool": {"{t,other}": ONE}}, "tool {t,other}", EVE, False),
    ],
)
async def test_rates(rates: dict[str, Any], scope: str, other: Principal, admitted: bool) -> None:
    async with broker_with(limiter=RateLimiter(**rates)) as broker:
        async with broker.session(principal=ANN) as session:
            await session.call("t")
            with pytest.raises(RateLimitedError, match=r"the limit of 1 calls in 60 s") as caught:
                await session.call("t")
            assert (caught.value.scope, caught.value.limit) == (scope, 1)
            assert 0 < (caught.value.retry_after or 0) <= 60
            assert [item["type"] for item in caught.value.details] == ["quota_info", "retry_info"]
        async with broker.session(principal=other) as session:
            if admitted:
                await session.call("t")
            else:
                with pytest.raises(RateLimitedError):
                    await session.call("t")


async def test_a_tools_own_rate_and_patterns_shared_by_tools() -> None:
    limiter = RateLimiter(per_tool={"o*": ONE})
    broker = broker_with(limiter=limiter)
    broker.tool("own", rate_limit=ONE)(lambda: "own")
    broker.tool("free")(lambda: "free")
    async with broker, broker.session() as session:
        await session.call("own")
        for name in ("own", "other"):
            with pytest.raises(RateLimitedError):
                await session.call(name)
        assert [await session.call("free") for _ in range(3)] == ["free"] * 3


async def test_a_refused_call_counts_in_no_window() -> None:
    limiter = RateLimiter(global_={"max_calls": 3, "window": 60}, per_tool={"t": ONE})
    async with broker_with(limiter=limiter) as broker, broker.session() as session:
        await session.call("t")
        for _ in range(5):
            with pytest.raises(RateLimitedError, match=r"\(tool t\)"):
                await session.call("t")
        await session.call("other")
        await session.call("other")
        with pytest.raises(RateLimitedError, match=r"\(global\)"):
            await session.call("other")


class Failing:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def acquire(self, windows: Sequence[Window]) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def check(self) -> None: ...


async def test_a_limiter_that_fails_refuses_unless_told_otherwise() -> None:
    failing = Failing(OSError("no backend"))
    closed = RateLimiter(global_=ONE, backend=failing)
    async with broker_with(limiter=closed) as broker, broker.session() as session:
        with pytest.raises(PluginError, match="the limiter failed: no backend"):
            await session.call("t")
    open_limiter = RateLimiter(global_=ONE, backend=failing, on_error="allow")
    async with broker_with(limiter=open_limiter) as broker, broker.session() as session:
        assert [await session.call("t") for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("answer", [True, None, 1, "ok"])
@pytest.mark.parametrize("on_error", ["deny", "allow"])
async def test_what_is_no_admission_admits_nobody(answer: Any, on_error: Any) -> None:
    limiter = RateLimiter(global_=ONE, backend=Failing(answer), on_error=on_error)
    async with broker_with(limiter=limiter) as broker, broker.session() as session:
        with pytest.raises(PluginError, match="is not an Admission"):
            await session.call("t")


async def test_a_limiter_that_is_not_async_stops_the_start() -> None:
    class NotAsync:
        def acquire(self, windows: Sequence[Window]) -> Admission:
            return Admission()

    with pytest.raises(ConfigError, match="needs an 'async def acquire'"):
        async with Broker(limiter=RateLimiter(global_=ONE, backend=NotAsync())):
            pass
