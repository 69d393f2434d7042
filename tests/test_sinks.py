"""Event sinks: they see everything, change nothing, and hold nobody up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    AccessController,
    Broker,
    BrokerError,
    CallFinished,
    EventSink,
    Observation,
    Principal,
    SessionFinished,
    SessionStarted,
)
from enclave_broker_core import sinks as sinks_module

pytestmark = pytest.mark.anyio


class Keeps:
    def __init__(self) -> None:
        self.seen: list[Observation] = []

    async def observe(self, observation: Observation) -> None:
        self.seen.append(observation)


def watched(*sinks: Any) -> Broker:
    rules = [{"pattern": "admin:*", "allow": False}]
    broker = Broker(access=AccessController(rules, default="allow"), sinks=sinks)
    broker.tool("t")(lambda: "t")
    broker.tool("admin:stop")(lambda: None)

    @broker.tool("fails")
    async def fails() -> None:
        raise ValueError("it failed")

    return broker


async def test_a_sink_sees_every_call_and_every_session() -> None:
    sink = Keeps()
    who = Principal(id="ann")
    async with watched(sink) as broker, broker.session(principal=who) as session:
        await session.call("t")
        for name in ("admin:stop", "fails", "unknown"):
            with pytest.raises(BrokerError):
                await session.call(name)
    started, *calls, finished = sink.seen
    assert isinstance(started, SessionStarted)
    assert isinstance(finished, SessionFinished)
    assert started.record.id == finished.record.id == session.id
    assert (finished.error_code, finished.record.state.value) == (None, "completed")
    assert [
        (one.call.tool, one.call.outcome, one.call.error_code, one.message)
        for one in calls
        if isinstance(one, CallFinished)
    ] == [
        ("t", "ok", None, None),
        ("admin:stop", "refused", "ACCESS_DENIED", "you may not use admin:stop"),
        ("fails", "error", "TOOL_ERROR", "it failed"),
        ("unknown", "refused", "UNKNOWN_TOOL", "there is no tool named 'unknown'"),
    ]
    assert [one.principal for one in calls if isinstance(one, CallFinished)] == [who] * 4


async def test_a_cancelled_call_and_session_are_seen() -> None:
    sink = Keeps()
    async with watched(sink) as broker, broker.session() as session:
        began = anyio.Event()

        async def wait() -> None:
            began.set()
            await anyio.sleep_forever()

        broker.tool("wait")(wait)
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                with pytest.raises(BrokerError):
                    await session.call("wait")

            tasks.start_soon(call)
            await began.wait()
            await session.cancel("enough")
    call_seen, end_seen = sink.seen[-2:]
    assert isinstance(call_seen, CallFinished)
    assert (call_seen.call.outcome, call_seen.message) == ("cancelled", "enough")
    assert isinstance(end_seen, SessionFinished)
    assert end_seen.error_code == "SESSION_CANCELLED"


async def test_a_sink_that_fails_is_in_the_log_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails:
        async def observe(self, observation: Observation) -> None:
            raise OSError("the sink is full")

    sink = Keeps()
    async with watched(Fails(), sink) as broker, broker.session() as session:
        assert [await session.call("t") for _ in range(3)] == ["t"] * 3
    assert len(sink.seen) == 5
    assert caplog.text.count("the event sink Fails failed") == 5
    assert "the sink is full" in caplog.text


async def test_a_slow_sink_holds_nobody_up_and_gets_all_of_it_before_the_end() -> None:
    go_on = anyio.Event()

    class Slow(Keeps):
        async def observe(self, observation: Observation) -> None:
            await go_on.wait()
            await super().observe(observation)

    sink = Slow()
    async with watched(sink) as broker:
        async with broker.session() as session:
            for _ in range(20):
                await session.call("t")
        assert sink.seen == []
        go_on.set()
    assert len(sink.seen) == 22


async def test_what_a_slow_sink_has_no_room_for_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sinks_module, "BACKLOG", 3)
    go_on = anyio.Event()

    class Slow(Keeps):
        async def observe(self, observation: Observation) -> None:
            await go_on.wait()
            await super().observe(observation)

    slow, quick = Slow(), Keeps()
    async with watched(slow, quick) as broker:
        async with broker.session() as session:
            for _ in range(20):
                await session.call("t")
                await anyio.wait_all_tasks_blocked()
        dropped = broker.stats().dropped_observations
        go_on.set()
    assert len(quick.seen) == 22
    assert len(slow.seen) == 22 - dropped
    assert 18 <= dropped <= 19
    assert caplog.text.count("a sink is too slow") == 1


async def test_a_sink_may_be_opened_and_closed_by_the_broker() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[EventSink]:
        steps.append("open")
        yield Keeps()
        steps.append("closed")

    async with watched(opened()) as broker:
        assert steps == ["open"]
        async with broker.session() as session:
            await session.call("t")
    assert steps == ["open", "closed"]


async def test_counts_for_operators() -> None:
    async with watched() as broker:
        async with broker.session() as session:
            await session.call("t")
            with pytest.raises(BrokerError):
                await session.call("fails")
            stats = broker.stats()
            assert (stats.calls, stats.failed_calls, stats.open_sessions) == (2, 1, 1)
            assert (stats.tools, stats.dropped_observations) == (3, 0)
            assert (stats.abandoned_threads, stats.abandoned_handlers) == (0, 0)
        assert broker.stats().open_sessions == 0
