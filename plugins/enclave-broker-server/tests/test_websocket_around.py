"""A WebSocket under another application, in the access log, and before a store that fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.store import MemoryStore
from enclave_broker_server.app import create_app
from enclave_broker_server.settings import ServerSettings, StreamSettings
from sockets import Gate, Server, Serving
from starlette.applications import Starlette
from starlette.routing import Mount

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.events import Draft, Event

pytestmark = pytest.mark.anyio


async def test_where_it_is_mounted_is_in_its_events(serving_app: Serving) -> None:
    async with Gate().broker() as broker:
        outer = Starlette(routes=[Mount("/broker", create_app(broker))])
        async with serving_app(outer) as url:
            server = Server(broker, url)
            session = await server.session()
            async with server.opened(f"/broker/sessions/{session.id}/ws") as socket:
                first = await socket.next()
                await socket.call("echo", value=1)
                assert (await socket.answer())["data"] == 1
    assert first["payload"]["cancelUrl"] == f"/broker/sessions/{session.id}/cancel"
    assert first["payload"]["replayUrl"] == f"/broker/sessions/{session.id}/stream"


async def test_it_is_one_line_in_the_access_log(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "enclave_broker.access")
    async with Gate().broker() as broker, serving(broker) as url:
        server = Server(broker, url)
        session = await server.session()
        async with server.socket(session.id, "?from=1") as socket:
            await socket.call("echo", value="private")
            await socket.answer()
    (line,) = (r for r in caplog.records if r.name == "enclave_broker.access")
    assert line.getMessage().startswith(f"WS /sessions/{session.id}/ws 101 in ")
    assert "private" not in caplog.text


class Failing(MemoryStore):
    """Fails in a way that nobody foresaw, as long as it is told to."""

    fails = False

    async def read(self, session_id: str, from_seq: int = 1, **how: Any) -> Sequence[Event]:
        if self.fails:
            raise RuntimeError("the password is 1234")
        return await super().read(session_id, from_seq, **how)

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        if self.fails:
            raise RuntimeError("the password is 1234")
        return await super().append(session_id, event, call)


async def test_when_the_store_fails_the_socket_can_come_back(serving: Serving) -> None:
    store = Failing(MemoryStoreConfig())
    settings = ServerSettings(streams=StreamSettings(heartbeat=1))
    async with Gate().broker(store=store) as broker, serving(broker, settings=settings) as url:
        server = Server(broker, url)
        session = await server.session()
        async with server.socket(session.id) as socket:
            await socket.next()
            store.fails = True
            await socket.call("echo", "a", value=1)
            failed = await socket.answer("a")
            assert failed["type"] == "tool_error"
            assert await socket.closed() == 1011
        store.fails = False
        async with server.socket(session.id, "?from=2") as again:
            await again.call("echo", "b", value=2)
            assert (await again.answer("b"))["data"] == 2
    assert "1234" not in "".join(socket.lines + again.lines)
