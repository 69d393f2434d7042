"""Code that runs in a session of its own."""

from __future__ import annotations

import anyio
import pytest
from cut_proxy import Proxy
from enclave_broker_client import Client, InvalidRequestError, ServerError
from server_thread import PATIENCE, QUICK, Server
from wire_schema import log_problems

from enclave_broker_core import (
    ArgumentsError,
    MaxToolCallsError,
    RunError,
    SessionCancelledError,
    SessionNotFoundError,
)

pytestmark = pytest.mark.anyio

ECHO = 'print("hello")\nawait call_tool("test:echo", {"value": [1, None]})'
FOREVER = 'await call_tool("test:wait", {"name": "NAME"})'


async def test_how_it_ended(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        outcome = await client.run(ECHO)
        nothing = await client.run("")
    assert outcome.ok
    assert outcome.unwrap() == [1, None]
    assert (outcome.stats.tool_calls, outcome.stats.stdout_bytes) == (1, 6)
    assert outcome.stats.duration >= 0
    assert nothing.ok
    assert nothing.result is None


async def test_what_the_code_did_wrong_is_not_raised(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        outcome = await client.run("1 / 0")
    assert not outcome.ok
    assert isinstance(outcome.error, RunError)
    assert "ZeroDivisionError" in outcome.error.message
    with pytest.raises(RunError):
        outcome.unwrap()


async def test_its_events(server: Server, raw_lines: list[bytes]) -> None:
    async with Client(server.url, settings=QUICK) as client, client.stream(ECHO) as events:
        with pytest.raises(RuntimeError):
            events.outcome  # noqa: B018
        received = [event async for event in events]
        assert events.outcome.unwrap() == [1, None]
    assert received == server.log(events.session_id)
    assert log_problems(raw_lines) == []
    assert events.last_seq == len(received)


async def test_the_same_connection_takes_the_next_one(server: Server, proxy: Proxy) -> None:
    async with Client(proxy.url, settings=QUICK) as client:
        for _ in range(3):
            await client.run(ECHO)
    assert len(proxy.requests) == 1


async def test_a_filter(server: Server) -> None:
    printed = {"mode": "include", "rules": [{"types": {"types": ["stdout"]}}]}
    async with Client(server.url, settings=QUICK) as client:
        async with client.stream(ECHO, filter=printed) as events:
            received = [event.type async for event in events]
        assert (await client.run(ECHO, filter=printed)).unwrap() == [1, None]
    assert received == ["session_init", "stdout", "final"]


async def test_limits(server: Server) -> None:
    twice = 'await call_tool("test:echo", {"value": 1})\n' * 2
    async with Client(server.url, settings=QUICK) as client:
        outcome = await client.run(twice, max_tool_calls=1, run_timeout=30)
        allowed = await client.run(twice, allowed_tools=["test:count"])
    assert isinstance(outcome.error, RunError)
    assert MaxToolCallsError.code in outcome.error.message
    assert isinstance(allowed.error, RunError)
    assert "ACCESS_DENIED" in allowed.error.message


async def test_a_deadline(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        outcome = await client.run("while True: pass", run_timeout=0.2)
    assert outcome.error is not None
    assert getattr(outcome.error, "code", None) == "DEADLINE_EXCEEDED"


async def test_what_the_server_refuses_is_raised(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        with pytest.raises(InvalidRequestError) as too_long:
            await client.run("#" * 300_000)
        assert too_long.value.code == "PAYLOAD_TOO_LARGE"
        assert too_long.value.status == 413
        with pytest.raises(ServerError) as wrong:
            await client.run("1", filter={"mode": "never", "rules": []})
        assert wrong.value.code == "INVALID_FILTER"
        with pytest.raises(ArgumentsError):
            await client.run("1", session_id="../health")
        with pytest.raises(ArgumentsError):
            await client.run("1", metadata={"a": float("nan")})


async def test_who_cancels_the_caller_cancels_the_session(server: Server) -> None:
    name = f"cancelled {id(object())}"
    code = FOREVER.replace("NAME", name)
    async with Client(server.url, settings=QUICK) as client:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.run, code)
                async with client.existing(await _running(client)).events() as events:
                    async for event in events:
                        if event.type == "tool_call":
                            break
                    tasks.cancel_scope.cancel()
        log = server.log(events.session_id)
    assert log[-1].payload["error"]["code"] == SessionCancelledError.code


async def _running(client: Client) -> str:
    """The session that runs, when there is one."""
    while not (found := await client.sessions()):
        await anyio.lowlevel.checkpoint()
    return found[0].session_id


async def test_who_leaves_the_stream_cancels_nothing(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        async with client.stream(FOREVER.replace("NAME", "left")) as events:
            assert (await anext(events)).type == "session_init"
        session = client.existing(events.session_id)
        assert not (await session.info()).state.ended
        await session.cancel("enough")
        async with session.events() as again:
            last = [event async for event in again][-1]
    assert last.payload["error"]["message"] == "enough"


async def test_a_stream_can_be_waited_for_with_a_timeout(server: Server) -> None:
    """An event that was not waited for to the end is not lost."""
    async with (
        Client(server.url, settings=QUICK) as client,
        client.session() as session,
        session.events() as events,
    ):
        assert (await anext(events)).type == "session_init"
        with anyio.move_on_after(0) as timer:
            await anext(events)
        assert timer.cancelled_caught
        await session.call("test:echo", {"value": 1})
        assert (await anext(events)).seq == 2
        assert (await anext(events)).seq == 3


async def test_a_session_that_is_not_there(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        with pytest.raises(SessionNotFoundError):
            async with client.existing("s_nobody").events():
                pass


async def test_a_client_that_is_not_open(server: Server) -> None:
    client = Client(server.url)
    with pytest.raises(RuntimeError, match="async with"):
        await client.health()
    async with client:
        assert await client.health()
    with pytest.raises(RuntimeError, match="async with"):
        await client.health()
