"""A WebSocket that drops: it cancels nothing, and what was missed can be had again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.store import MemoryStore
from enclave_broker_server import listening
from enclave_broker_server.settings import ServerSettings, StreamSettings
from sockets import SECONDS, Gate, Server, Serving, Socket
from websockets.exceptions import InvalidStatus
from wire_schema import log_problems

from enclave_broker_core import Session, use
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import ClientTool

pytestmark = pytest.mark.anyio


async def leave(socket: Socket) -> None:
    await socket.connection.close()


async def vanish(socket: Socket) -> None:
    socket.connection.transport.abort()
    await socket.connection.wait_closed()


WAYS = pytest.mark.parametrize("drop", [leave, vanish])
Drop = Callable[[Socket], Awaitable[None]]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def server(gate: Gate, serving: Serving) -> AsyncIterator[Server]:
    broker = gate.broker(runtime=use("monty", workers=1))
    settings = ServerSettings(streams=StreamSettings(max_per_session=1))
    async with broker, serving(broker, settings=settings) as url:
        yield Server(broker, url)


async def until_free(server: Server, session: Session) -> None:
    """Return when no stream of the session is open any more, of which there may be one."""
    with anyio.fail_after(SECONDS):
        while True:
            try:
                async with server.socket(session.id) as socket:
                    await socket.next()
                    return
            except InvalidStatus as refused:
                if refused.response.status_code != 429:
                    raise


async def applied(session: Session) -> dict[str, object]:
    """How the first call ended, by the log."""
    with anyio.fail_after(SECONDS):
        async for event in session.events():
            if event.type == "tool_result_applied":
                return event.payload
    raise AssertionError("the session ended without it")


@WAYS
async def test_a_call_goes_on_and_its_outcome_is_recorded(
    server: Server, gate: Gate, drop: Drop
) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.call("wait")
        await gate.begun()
        await drop(socket)
    # The place of the socket is free, although what it began is still under way.
    await until_free(server, session)
    assert session.busy
    gate.open.set()
    assert (await applied(session))["ok"] is True
    assert [record.outcome for record in await session.history()] == ["ok"]
    assert not session.is_ending


@WAYS
async def test_code_goes_on(server: Server, gate: Gate, drop: Drop) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.send(type="execute", code="await call_tool('wait', {})")
        await gate.begun()
        await drop(socket)
    await until_free(server, session)
    gate.open.set()
    async with server.socket(session.id, "?from=4") as socket:
        done = await socket.event("partial_result")
    assert done["payload"]["data"] == "waited"


async def test_what_a_client_sent_before_it_left_is_done(server: Server, gate: Gate) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.call("wait")
        await gate.begun()
        await socket.send(type="cancel", reason="and away")
        await leave(socket)
    with anyio.fail_after(SECONDS):
        await session.ended.wait()
    assert gate.cancelled
    assert (await server.lines(session.id))[-1].count("and away") == 1


async def test_a_client_comes_back_and_answers_what_it_was_asked(server: Server) -> None:
    session = await server.session(client_tools=[ClientTool(name="client:ask")])
    async with server.socket(session.id) as socket:
        await socket.send(type="execute", code="await call_tool('client:ask', {})")
        asked = await socket.event("tool_call")
    await until_free(server, session)
    async with server.socket(session.id, f"?from={asked['seq'] + 1}") as socket:
        await socket.send(type="tool_result", id=asked["payload"]["callId"], data=[1])
        done = await socket.event("partial_result")
        assert done["payload"]["data"] == [1]
        await socket.send(type="cancel")
        assert await socket.closed() == 1000


async def test_the_log_is_whole_wherever_the_socket_was_cut(server: Server) -> None:
    session = await server.session()
    for n in range(4):
        await session.call("echo", {"value": n})
    await session.complete()
    whole = await server.lines(session.id)
    assert log_problems(whole) == []
    for cut in range(1, len(whole)):
        await until_free(server, session)
        async with server.socket(session.id) as first:
            for _ in range(cut):
                await first.next()
            await vanish(first)
        await until_free(server, session)
        seen = json.loads(first.lines[-1])["seq"]
        async with server.socket(session.id, f"?from={seen + 1}") as second:
            assert await second.closed() == 1000
        assert first.lines + second.lines == whole


async def test_calls_of_a_socket_that_is_gone_end_with_the_server(
    gate: Gate, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "FINISHING_TIME", 1)
    async with gate.broker() as broker:
        async with serving(broker) as url:
            server = Server(broker, url)
            session = await server.session()
            async with server.socket(session.id) as socket:
                await socket.call("wait")
                await gate.begun()
        assert gate.cancelled
        assert not session.busy
        assert not session.is_ending
        assert [record.outcome for record in await session.history()] == ["cancelled"]


async def test_an_open_socket_is_told_that_the_server_stops(gate: Gate, serving: Serving) -> None:
    async with gate.broker() as broker:
        async with serving(broker) as url:
            server = Server(broker, url)
            session = await server.session()
            opened = server.socket(session.id)
            socket = await opened.__aenter__()
            await socket.next()
        assert await socket.closed() == 1012
        await opened.__aexit__(None, None, None)
        assert not session.is_ending


class Lingering(MemoryStore):
    """Writes the final event, and is not done before it is let."""

    def __init__(self) -> None:
        super().__init__(MemoryStoreConfig())
        self.done = anyio.Event()

    async def end(self, *given: Any) -> bool:
        ended = await super().end(*given)
        await self.done.wait()
        return ended


async def test_the_calls_of_a_session_that_ends_are_answered_before_the_socket_is_closed(
    gate: Gate, serving: Serving
) -> None:
    store = Lingering()
    async with gate.broker(store=store) as broker, serving(broker) as url:
        server = Server(broker, url)
        session = await server.session()
        async with server.socket(session.id) as socket:
            await socket.call("wait", "w")
            await gate.begun()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.end, BrokerError("it is late"))
                await socket.event("final")
                await socket.connection.send("garbage, of which no event tells any more")
                store.done.set()
                assert await socket.closed() == 1000
    (answer,) = socket.answers
    assert answer["id"] == "w"
    assert answer["error"]["message"] == "the session has ended: it is late"
    assert socket.events[-1]["type"] == "final"
