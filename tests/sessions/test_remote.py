"""Any request at any replica: what is asked of a session that another broker runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from shared_memory import Replica, replicas

from enclave_broker_core import (
    Broker,
    CallNotFoundError,
    ClientTool,
    Principal,
    RateLimitedError,
    RateLimiter,
    SessionEndedError,
    SessionLostError,
    SessionNotFoundError,
    SessionState,
    StoreError,
    ToolContext,
    ToolError,
    UnknownToolError,
)
from enclave_broker_core.mailbox import ToolCallMessage
from enclave_broker_core.remote_session import RemoteSession

pytestmark = pytest.mark.anyio
PICK = ClientTool(
    name="client:pick",
    description="Pick one.",
    input_schema={"type": "object", "properties": {"of": {"type": "integer"}}},
)


@asynccontextmanager
async def two(**options: Any) -> AsyncIterator[tuple[Broker, Broker, list[Replica]]]:
    """Two brokers with the same tools on one store."""
    async with (
        replicas(2) as stores,
        Broker(store=stores[0], **options) as here,
        Broker(store=stores[1], **options) as there,
    ):
        yield here, there, stores


async def add(a: int, b: int) -> int:
    return a + b


async def fail() -> None:
    raise ValueError("no luck")


async def calling(session: Any, name: str, errors: list[BaseException]) -> None:
    try:
        await session.call(name)
    except SessionLostError as error:
        errors.append(error)


async def types(session: Any, from_seq: int = 1) -> list[str]:
    return [event.type async for event in session.events(from_seq)]


async def test_a_call_is_made_where_the_session_runs() -> None:
    async with two(tools={"add": add}) as (here, there, _):
        session = await here.create_session()
        remote = await there.get_session(session.id)
        assert isinstance(remote, RemoteSession)
        assert await remote.call("add", {"a": 1, "b": 2}) == 3
        assert (session.info().tool_calls, (here.stats().calls, there.stats().calls)) == (1, (1, 0))
        [record] = await remote.history()
        assert (record.tool, record.arguments) == ("add", {"a": 1, "b": 2})


async def test_an_attempt_has_the_id_of_the_events() -> None:
    async with two(tools={"add": add}) as (here, there, _):
        remote = await there.get_session((await here.create_session()).id)
        made = await remote.attempt(ToolCallMessage(name="add", args={"a": 1, "b": 1}))
        [record] = await remote.history()
        assert (made.id, made.data, made.error) == (record.call_id, 2, None)
        mine = await remote.attempt(ToolCallMessage(id="mine", name="none"))
        assert (mine.id, type(mine.error)) == ("mine", UnknownToolError)


async def test_errors_come_back_as_they_were() -> None:
    limiter = RateLimiter(per_session={"max_calls": 2, "window": 1000})
    async with two(tools={"add": add, "fail": fail}, limiter=limiter) as (here, there, _):
        remote = await there.get_session((await here.create_session()).id)
        with pytest.raises(ToolError, match="no luck"):
            await remote.call("fail")
        await remote.call("add", {"a": 1, "b": 2})
        with pytest.raises(RateLimitedError) as refused:
            await remote.call("add", {"a": 1, "b": 2})
        assert (refused.value.scope, refused.value.limit) == ("session", 2)
        assert 990 < (refused.value.retry_after or 0) <= 1000
        assert [detail["type"] for detail in refused.value.details] == ["quota_info", "retry_info"]


async def test_a_clients_answer_reaches_the_call_that_waits() -> None:
    async with two() as (here, there, _):
        session = await here.create_session(client_tools=[PICK])
        remote = await there.get_session(session.id)
        assert "client_pick" in await there.visible_tools(session=remote)
        results: list[Any] = []

        async def call() -> None:
            results.append(await remote.call("client:pick", {"of": 3}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            async for event in remote.events():
                if event.type == "tool_call":
                    await remote.answer(event.payload["callId"], result=7)
                    break
        assert results == [7]
        with pytest.raises(CallNotFoundError):
            await remote.answer("c_none", result=1)


async def test_cancelled_from_elsewhere() -> None:
    async with two() as (here, there, _):
        session = await here.create_session()
        await (await there.get_session(session.id)).cancel("enough")
        assert session.state is SessionState.CANCELLED
        late = await there.get_session(session.id)
        assert (late.has_ended, late.state) == (True, SessionState.CANCELLED)
        assert (await types(late))[-1] == "final"


async def test_who_stops_asking_stops_the_call() -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def wait() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with two(tools={"wait": wait}) as (here, there, _):
        remote = await there.get_session((await here.create_session()).id)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(remote.call, "wait")
            await begun.wait()
            tasks.cancel_scope.cancel()
        assert ended.is_set()
        [record] = await remote.history()
        assert (record.outcome, record.error_code) == ("cancelled", "CANCELLED")


async def test_a_dead_brokers_session_ends_as_lost_once() -> None:
    begun = anyio.Event()

    async def wait() -> None:
        begun.set()
        await anyio.sleep_forever()

    async with two(tools={"wait": wait}) as (here, there, stores):
        session = await here.create_session()
        remote = await there.get_session(session.id)
        errors: list[BaseException] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(calling, remote, "wait", errors)
            await begun.wait()
            stores[0].cut_off()
            events = [event async for event in remote.events()]
        assert [type(error) for error in errors] == [SessionLostError]
        assert [event.type for event in events] == ["session_init", "tool_call", "final"]
        assert events[-1].payload["error"]["code"] == "SESSION_LOST"
        record = await there.get_session(session.id)
        assert record.state is SessionState.FAILED


async def test_who_was_only_slow_stops_and_writes_nothing_more() -> None:
    begun, stopped = anyio.Event(), anyio.Event()

    async def wait() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    async with two(tools={"wait": wait, "add": add}) as (here, there, stores):
        session = await here.create_session()
        errors: list[BaseException] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(calling, session, "wait", errors)
            await begun.wait()
            stores[0].cut_off()
            log = [event async for event in (await there.get_session(session.id)).events()]
            stores[0].find_out()
            await session.ended.wait()
        assert stopped.is_set()
        assert [type(error) for error in errors] == [SessionLostError]
        assert (session.state, here.stats().open_sessions) == (SessionState.FAILED, 0)
        with pytest.raises(SessionLostError):
            await session.call("add", {"a": 1, "b": 1})
        assert await types(await there.get_session(session.id)) == [e.type for e in log]


async def test_nobody_elses_session_from_anywhere() -> None:
    async with two() as (here, there, _):
        session = await here.create_session(principal=Principal(id="ann"))
        assert (await there.get_session(session.id, principal=Principal(id="ann"))).id == session.id
        with pytest.raises(SessionNotFoundError):
            await there.get_session(session.id, principal=Principal(id="bob"))


async def test_destroyed_from_elsewhere() -> None:
    async with two() as (here, there, _):
        session = await here.create_session()
        assert await there.destroy_session(session.id)
        assert session.state is SessionState.CANCELLED
        with pytest.raises(SessionNotFoundError):
            await here.get_session(session.id)


async def test_what_comes_too_late() -> None:
    async with two(tools={"add": add}) as (here, there, _):
        session = await here.create_session()
        remote = await there.get_session(session.id)
        await session.complete()
        with pytest.raises(SessionEndedError):
            await remote.call("add", {"a": 1, "b": 2})
        await remote.cancel()  # it has ended, so there is nothing to do


async def test_a_message_is_taken_there() -> None:
    got = anyio.Event()
    async with two() as (here, there, _):
        session = await here.create_session()
        session.on("hello", lambda message: got.set())
        await (await there.get_session(session.id)).deliver({"type": "hello"})
        await got.wait()


async def test_a_final_event_that_could_not_be_written_is_written_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("enclave_broker_core.unsettled.PATIENCE", 0.01)
    async with two() as (here, there, stores):
        session = await here.create_session()
        remote = await there.get_session(session.id)
        stores[0].out_of_reach = True
        with pytest.raises(StoreError):
            await session.cancel("enough")
        assert session.state is SessionState.CANCELLED
        stores[0].out_of_reach = False
        events = [event async for event in remote.events()]
        assert [event.type for event in events] == ["session_init", "final"]
        assert events[-1].payload["error"]["message"] == "enough"


async def test_calls_within_calls_and_progress_from_elsewhere() -> None:
    async def outer(ctx: ToolContext) -> int:
        await ctx.progress("processing")
        inner: int = await ctx.call("add", {"a": 1, "b": 1})
        return inner

    async with two(tools={"outer": outer, "add": add}) as (here, there, _):
        session = await here.create_session()
        assert await (await there.get_session(session.id)).call("outer") == 2
        await session.complete()
        assert await types(await there.get_session(session.id)) == [
            "session_init",
            "tool_call",
            "tool_progress",
            "tool_call",
            "tool_result_applied",
            "tool_result_applied",
            "final",
        ]
