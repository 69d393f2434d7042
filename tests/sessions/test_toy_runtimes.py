"""A session beside a runtime that is made for the test: what it is told, and how it may break."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    Broker,
    DeadlineExceededError,
    ResultTooLargeError,
    RunError,
    RuntimeBusyError,
    SessionCancelledError,
    ToolContext,
)

pytestmark = pytest.mark.anyio


class Toy:
    """A runtime that fails where it is told to, or repeats what it is given."""

    language = "toy"

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.opened = 0

    @asynccontextmanager
    async def session(self, host: Any, state: bytes | None = None) -> AsyncIterator[Any]:
        self.opened += 1
        self.host = host
        if self.fails == "open" and self.opened == 1:
            raise RuntimeBusyError("no worker is free", retry_after=1)
        yield self
        if self.fails == "close":
            raise OSError("the worker is gone")

    async def run(self, code: str, *, last: bool = False) -> Any:
        if self.fails == "print":
            await self.host.stdout(code)
        if self.fails == "secret":
            raise RunError(f"it printed {code}")
        if self.fails == "run":
            raise OSError("the worker died")
        if self.fails == "value":
            return float("nan")
        return code

    async def dump(self) -> bytes | None:
        return None


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_runtime_that_does_not_open_can_be_tried_again() -> None:
    async with Broker(runtime=Toy("open")) as broker, broker.session() as session:
        with pytest.raises(RuntimeBusyError):
            await session.run("a")
        assert (await session.run("b")).result == "b"


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize(("fails", "said"), [("run", "the worker died"), ("value", "NaN")])
async def test_a_runtime_that_breaks_is_the_runs_error(fails: str, said: str) -> None:
    async with Broker(runtime=Toy(fails)) as broker, broker.session() as session:
        outcome = await session.run("a")
        assert isinstance(outcome.error, RunError)
        assert said in outcome.error.message


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_runtime_that_breaks_at_its_end_leaves_the_broker_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Broker(runtime=Toy("close")) as broker:
        async with broker.session() as session:
            assert (await session.run("a")).ok
        assert session.state.value == "completed"
        async with broker.session() as session:
            assert (await session.run("b")).ok
    assert "the worker is gone" in caplog.text


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_an_executed_run_is_told_that_it_is_the_last_and_leaves_no_state() -> None:
    told: list[bool] = []
    open_now: list[int] = []

    class Telling(Toy):
        @asynccontextmanager
        async def session(self, host: Any, state: bytes | None = None) -> AsyncIterator[Any]:
            open_now.append(1)
            yield self
            open_now.pop()

        async def run(self, code: str, *, last: bool = False) -> Any:
            told.append(last)
            return code

    async with Broker(runtime=Telling("")) as broker:
        async with broker.session() as session:
            await session.run("a")
            assert (await session.execute("b")).result == "b"
        session = await broker.create_session()
        assert (await session.execute("c")).result == "c"
        assert open_now == []
        assert session.state.value == "completed"
    assert told == [False, True, True]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_code_can_run_after_an_executed_run_was_cancelled() -> None:
    began = anyio.Event()

    class Waiting(Toy):
        async def run(self, code: str, *, last: bool = False) -> Any:
            if code == "wait":
                began.set()
                await anyio.sleep_forever()
            return code

    async with Broker(runtime=Waiting("")) as broker, broker.session() as session:
        async with anyio.create_task_group() as group:
            group.start_soon(session.execute, "wait")
            await began.wait()
            assert session.busy
            with pytest.raises(RuntimeBusyError):
                await session.run("a")
            with pytest.raises(RuntimeBusyError):
                await session.execute("a")
            group.cancel_scope.cancel()
        assert not session.busy
        assert (await session.run("b")).result == "b"


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_session_that_ends_stops_what_it_executes() -> None:
    async def wait(code: str, *, last: bool = False) -> Any:
        await anyio.sleep_forever()

    toy = Toy("")
    toy.run = wait  # type: ignore[method-assign]
    async with Broker(runtime=toy) as broker:
        session = await broker.create_session()
        async with anyio.create_task_group() as group:

            async def execute() -> None:
                outcome = await session.execute("wait")
                assert isinstance(outcome.error, SessionCancelledError)

            group.start_soon(execute)
            await anyio.wait_all_tasks_blocked()
            await session.cancel()
        assert session.state.value == "cancelled"

        session = await broker.create_session(run_timeout=0.05)
        outcome = await session.execute("wait")
        assert isinstance(outcome.error, DeadlineExceededError)
        assert [event.type async for event in session.events()][-2:] == [
            "deadline_exceeded",
            "final",
        ]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_no_secret_is_in_an_outcome() -> None:
    class Vault:
        async def get(self, name: str) -> str:
            return "hunter2-hunter2"

    for fails in ("", "secret", "print"):
        broker = Broker(runtime=Toy(fails), secrets=[Vault()])
        broker.tool("t", secrets=["K"])(_nothing)
        async with broker, broker.session() as session:
            await session.call("t")
            outcome = await session.run("hunter2-hunter2")
            assert outcome.result == (None if fails == "secret" else "[secret]")
            await session.complete()
            events = [event.to_json().decode() async for event in session.events()]
        assert "hunter2" not in f"{outcome} {outcome.error} {events}"
        assert ('{"chunk":"[secret]"}' in str(events)) is (fails == "print")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_what_code_prints_is_bounded_by_the_broker_itself() -> None:
    broker = Broker(runtime=Toy("print"))
    async with broker, broker.session(max_output_bytes=10) as session:
        assert (await session.run("ä" * 5)).stats.stdout_bytes == 10
        outcome = await session.run("x")
        assert isinstance(outcome.error, ResultTooLargeError)
        await session.complete()
        assert [e.payload async for e in session.events() if e.type == "stdout"] == [
            {"chunk": "ä" * 5}
        ]


async def _nothing(ctx: ToolContext) -> None: ...
