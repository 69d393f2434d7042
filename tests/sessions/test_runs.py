"""Runs of code in a session: what is kept between them, and how each ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    Broker,
    BrokerError,
    RunError,
    RuntimeBusyError,
    SessionCancelledError,
    SessionEndedError,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as the runtime


class Tools:
    def __init__(self) -> None:
        self.began = anyio.Event()
        self.gone = anyio.Event()

    async def wait(self) -> None:
        self.began.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.gone.set()


@pytest.fixture
async def tools() -> Tools:
    return Tools()


@pytest.fixture
async def broker(tools: Tools) -> AsyncIterator[Broker]:
    broker = Broker(runtime="monty")
    broker.tool("wait")(tools.wait)

    @broker.tool("add")
    async def add(a: int, b: int) -> int:
        return a + b

    async with broker:
        yield broker


async def test_what_a_run_defined_is_still_there(broker: Broker) -> None:
    async with broker.session() as session:
        first = await session.run("def double(n):\n    return n * 2\nx = 4\nprint('one')\nx")
        assert (first.ok, first.result, first.error, first.run_id) == (True, 4, None, "run_1")
        second = await session.run("x = await call_tool('add', {'a': double(x), 'b': 1})\nx")
        assert (second.result, second.run_id) == (9, "run_2")
        assert (second.stats.tool_calls, second.stats.stdout_bytes) == (1, 0)
        assert (first.stats.tool_calls, first.stats.stdout_bytes) == (0, 4)
        assert second.unwrap() == 9
        assert session.state.value == "running"
        async with broker.session() as other:
            assert not (await other.run("x")).ok


async def test_what_code_does_wrong_is_in_the_outcome(broker: Broker) -> None:
    async with broker.session() as session:
        outcome = await session.run("x = 1\n1 / 0")
        assert (outcome.ok, outcome.result) == (False, None)
        assert isinstance(outcome.error, RunError)
        assert "ZeroDivisionError" in outcome.error.message
        with pytest.raises(RunError):
            outcome.unwrap()
        assert not (await session.run("this is no code")).ok
        assert (await session.run("x")).result == 1


async def test_a_tools_error_is_the_codes_to_catch(broker: Broker) -> None:
    code = "try:\n    await call_tool('add', {'a': 'x'})\nexcept Exception as e:\n    s = str(e)\ns"
    async with broker.session() as session:
        outcome = await session.run(code)
        assert outcome.ok
        assert "VALIDATION_ERROR" in str(outcome.result) or "a: Input" in str(outcome.result)
        assert [one.error_code for one in await session.history()] == ["VALIDATION_ERROR"]


async def test_execute_ends_the_session_with_its_result(broker: Broker) -> None:
    session = await broker.create_session()
    await session.run("x = 20")
    outcome = await session.execute("{'x': x}")
    assert outcome.result == {"x": 20}
    assert session.state.value == "completed"
    final = [event async for event in session.events()][-1].payload
    assert (final["ok"], final["result"]) == (True, {"x": 20})
    with pytest.raises(SessionEndedError):
        await session.run("1")


async def test_execute_ends_the_session_with_its_error(broker: Broker) -> None:
    session = await broker.create_session()
    outcome = await session.execute("1 / 0")
    assert not outcome.ok
    assert session.state.value == "failed"
    final = [event async for event in session.events()][-1].payload
    assert (final["ok"], final["error"]["code"]) == (False, "RUNTIME_ERROR")
    assert "ZeroDivisionError" in final["error"]["message"]
    with pytest.raises(SessionEndedError, match="ZeroDivisionError"):
        await session.call("add", {"a": 1, "b": 2})


async def test_one_shot(broker: Broker) -> None:
    outcome = await broker.execute("await call_tool('add', {'a': 1, 'b': 2})", timeout=20)
    assert outcome.unwrap() == 3
    assert broker.stats().open_sessions == 0


@asynccontextmanager
async def running(session: Any, tools: Tools) -> AsyncIterator[list[Any]]:
    """A run that waits for a tool, and what comes of it when the block is left."""
    outcomes: list[Any] = []

    async def run() -> None:
        try:
            outcomes.append(await session.run("await call_tool('wait')"))
        except BrokerError as error:
            outcomes.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await tools.began.wait()
        yield outcomes


async def test_a_second_run_at_the_same_time_is_busy(broker: Broker, tools: Tools) -> None:
    async with broker.session() as session, running(session, tools):
        assert session.busy
        for act in (session.run, session.execute):
            with pytest.raises(RuntimeBusyError) as caught:
                await act("1")
            assert (caught.value.code, caught.value.retry_after) == ("RUNTIME_BUSY", 1.0)
        await session.cancel()


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_the_end_of_the_session_stops_the_run(tools: Tools, how: str) -> None:
    outcomes: list[Any] = []
    async with anyio.create_task_group() as tasks:
        async with Broker(tools={"wait": tools.wait}, runtime="monty") as broker:
            session = await broker.create_session()

            async def run() -> None:
                outcomes.append(await session.run("await call_tool('wait')"))

            tasks.start_soon(run)
            await tools.began.wait()
            if how == "cancel":
                await session.cancel("enough")
                assert tools.gone.is_set()
        assert tools.gone.is_set()
        assert session.state.value == "cancelled"
    assert isinstance(outcomes[0].error, SessionCancelledError)
    assert outcomes[0].error.message == ("enough" if how == "cancel" else "the broker is closing")
    kinds = [event.type async for event in session.events()]
    assert kinds == ["session_init", "tool_call", "tool_result_applied", "final"]


async def test_a_run_whose_caller_is_cancelled_stops_and_the_session_goes_on(
    broker: Broker, tools: Tools
) -> None:
    async with broker.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.run, "x = 1\nawait call_tool('wait')")
            await tools.began.wait()
            tasks.cancel_scope.cancel()
        assert tools.gone.is_set()
        assert not session.busy
        assert (await session.run("2")).result == 2


async def test_no_runtime_is_a_clear_error() -> None:
    async with Broker() as broker, broker.session() as session:
        with pytest.raises(RunError, match=r"this broker runs no code.*enclave-broker-monty"):
            await session.run("1")
        assert session.state.value == "running"
        with pytest.raises(RunError):
            await broker.execute("1")
        assert broker.stats().open_sessions == 1


async def test_an_unknown_runtime_names_those_that_are(broker: Broker) -> None:
    with pytest.raises(RunError, match="no runtime named 'ruby'; it has: "):
        await broker.create_session(runtime="ruby")
