"""Interactive sessions: calls, runs, and what is known of them."""

from __future__ import annotations

import anyio
import pytest
from enclave_broker_client import Client, ClientSettings, ConflictError
from server_thread import PATIENCE, QUICK, Server

from enclave_broker_core import (
    AccessDeniedError,
    ArgumentsError,
    RateLimitedError,
    RunError,
    SessionNotFoundError,
    ToolError,
    UnknownToolError,
)
from enclave_broker_core.models import SessionState

pytestmark = pytest.mark.anyio


async def test_calls_and_their_history(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client, client.session() as session:
        assert await session.call("test:echo", {"value": {"a": [1.5, None, "ö"]}}) == {
            "a": [1.5, None, "ö"]
        }
        assert await session.call("test:echo", {"value": None}) is None
        with pytest.raises(ToolError, match="it does not work"):
            await session.call("test:fail")
        first, second, third = await session.history()
        assert (first.tool, first.outcome, first.error_code) == ("test:echo", "ok", None)
        assert second.arguments == {"value": None}
        assert (third.outcome, third.error_code) == ("error", "TOOL_ERROR")
        assert third.started_at <= third.ended_at


async def test_what_is_wrong_with_a_call_is_the_brokers_own_error(server: Server) -> None:
    async with (
        Client(server.url, settings=QUICK) as client,
        client.session(allowed_tools=["test:*"]) as session,
    ):
        with pytest.raises(ArgumentsError) as wrong:
            await session.call("test:echo", {})
        assert wrong.value.fields == (("value", "Field required"),)
        with pytest.raises(UnknownToolError):
            await session.call("test:nothing")
        with pytest.raises(ArgumentsError):
            await session.call("test:echo", {"value": float("inf")})
        with pytest.raises(RateLimitedError) as full:
            for _ in range(2):
                await session.call("test:rare")
        assert full.value.retry_after is not None
        assert 3500 < full.value.retry_after <= 3600
        assert full.value.limit == 1
        assert full.value.details[0] == {"type": "quota_info", "limit": 1, "used": 1}


async def test_allowed_tools(server: Server) -> None:
    async with (
        Client(server.url, settings=QUICK) as client,
        client.session(allowed_tools=["test:count"]) as session,
    ):
        with pytest.raises(AccessDeniedError):
            await session.call("test:echo", {"value": 1})


async def test_runs_share_what_they_define(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client, client.session() as session:
        assert (await session.run("x = 20")).ok
        async with session.execute("print(x)\nx + 1") as events:
            kinds = [event.type async for event in events]
        assert kinds == ["stdout", "partial_result"]
        assert events.outcome.unwrap() == 21
        assert events.outcome.run_id == "run_2"
        assert events.outcome.stats.stdout_bytes == 3
        failed = await session.run("x / 0")
        assert isinstance(failed.error, RunError)
        assert "ZeroDivisionError" in failed.error.message


async def test_a_filter_does_not_hide_how_a_run_ended(server: Server) -> None:
    printed = {"mode": "include", "rules": [{"types": {"types": ["stdout"]}}]}
    async with Client(server.url, settings=QUICK) as client, client.session() as session:
        await session.call("test:echo", {"value": 1})
        async with session.execute('print("a")\nNone', filter=printed) as events:
            with anyio.fail_after(PATIENCE):
                assert [event.type async for event in events] == ["stdout", "partial_result"]
        assert events.outcome.ok
        assert events.outcome.result is None


async def test_one_run_at_a_time(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client, client.session() as session:
        async with session.execute('await call_tool("test:wait", {"name": "busy"})') as events:
            assert (await anext(events)).type == "tool_call"
            with pytest.raises(ConflictError):
                await session.run("1")
            await session.cancel("no more")
            outcome = await events.finish()
        assert getattr(outcome.error, "code", None) == "SESSION_CANCELLED"


async def test_what_is_known_of_it(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        async with client.session(metadata={"a": 1}) as session:
            await session.call("test:echo", {"value": 1})
            info = await session.info()
            assert (info.session_id, info.tool_calls) == (session.id, 1)
            assert info.state is SessionState.RUNNING
            assert info.created_at < info.expires_at
            assert info.duration >= 0
            assert session.id in {one.session_id for one in await client.sessions()}
        assert session.id not in {one.session_id for one in await client.sessions()}
        ended = {one.session_id: one.state for one in await client.sessions(ended=True)}
        assert ended[session.id] is SessionState.CANCELLED


async def test_the_end_of_the_block_ends_the_session(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        with pytest.raises(ZeroDivisionError):
            async with client.session() as session:
                raise ZeroDivisionError
        with pytest.raises(ConflictError):
            await session.call("test:echo", {"value": 1})
        with anyio.CancelScope() as scope:
            async with client.session() as another:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    for one in (session, another):
        last = server.log(one.id)[-1].payload
        assert last["error"]["message"] == "the client has left the session"


async def test_a_session_is_deleted(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client, client.session() as session:
        await session.delete()
        for asked in (session.info, session.history, session.delete, session.ticket):
            with pytest.raises(SessionNotFoundError):
                await asked()
        with pytest.raises(SessionNotFoundError):
            await session.call("test:echo", {"value": 1})


async def test_a_ticket(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client, client.session() as session:
        ticket = await session.ticket()
        info = await session.info()
    assert ticket.ticket
    assert ticket.ticket not in repr(ticket)
    assert ticket.expires_at > info.created_at


async def test_the_catalog(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        tools = {tool.name: tool for tool in await client.tools()}
        echo = await client.tool("test:echo")
        with pytest.raises(UnknownToolError):
            await client.tool("test:no/such thing?")
    assert tools["test:echo"] == echo
    assert echo.description == "Give back what comes."
    assert echo.tags == {"test"}
    assert echo.input_schema["required"] == ["value"]
    assert not echo.deprecated


async def test_health(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        assert await client.health() is True
        assert await client.ready() is True


async def test_a_session_ends_while_it_is_followed(server: Server) -> None:
    async with (
        Client(server.url, settings=QUICK) as client,
        client.session() as session,
        session.events() as events,
        anyio.create_task_group() as tasks,
    ):
        assert (await anext(events)).type == "session_init"
        tasks.start_soon(session.cancel, "because")
        with anyio.fail_after(PATIENCE):
            (last,) = [event async for event in events]
    assert last.payload["error"] == {"message": "because", "code": "SESSION_CANCELLED"}


async def test_heartbeats_are_no_events(server: Server, raw_lines: list[bytes]) -> None:
    settings = ClientSettings(heartbeat_timeout=5)
    code = 'await call_tool("test:wait", {"name": "heartbeats"})'
    async with (
        Client(server.url, settings=settings) as client,
        client.stream(code, heartbeat=1, run_timeout=1.5) as events,
    ):
        received = [event async for event in events]
    assert [event.seq for event in received] == list(range(1, len(received) + 1))
    assert "heartbeat" not in {event.type for event in received}
    assert any(b'"type":"heartbeat"' in line for line in raw_lines)
