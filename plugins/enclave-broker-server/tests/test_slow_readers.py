"""A reader that takes nothing, or too little, is dropped; it can come back and replay."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from enclave_broker_server.settings import ServerSettings, StreamSettings

from enclave_broker_core import Broker, ToolContext

pytestmark = pytest.mark.anyio

CHUNK = "x" * 100_000
CHUNKS = 100


class Dropped(logging.Handler):
    """Set when the server says that it dropped a reader."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = anyio.Event()
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        if "dropped" in record.getMessage():
            self.said = record.getMessage()
            self.seen.set()


@pytest.fixture
def dropped() -> Any:
    handler = Dropped()
    logger = logging.getLogger("enclave_broker_server.streams")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def talking() -> Broker:
    broker = Broker()

    @broker.tool("talk")
    async def talk(context: ToolContext) -> None:
        for _ in range(CHUNKS):
            await context.log("info", CHUNK)

    return broker


@contextmanager
def deaf(url: str, path: str) -> Iterator[socket.socket]:
    """A connection that asks for a stream, and whose buffer holds next to nothing of it."""
    at = urlsplit(url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # The system takes the connection before the server does: this does not block.
        connection.connect((at.hostname, at.port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n".encode())
        connection.setblocking(False)
        yield connection


async def test_a_reader_that_takes_nothing_is_dropped(opened: Any, dropped: Dropped) -> None:
    settings = ServerSettings(streams=StreamSettings(stall_timeout=0.5, max_per_session=1))
    async with opened(talking(), settings=settings) as http:
        await http.post("/sessions", json={"sessionId": "s_1"})
        with deaf(str(http.base_url), "/sessions/s_1/stream"):
            await http.post("/sessions/s_1/tool-calls", json={"name": "talk"})
            with anyio.fail_after(20):
                await dropped.seen.wait()
            await http.post("/sessions/s_1/cancel")
            # Its place is free, and nothing is lost.
            with anyio.fail_after(20):
                while (answer := await http.get("/sessions/s_1/stream")).status_code == 429:
                    pass
        assert "stalled" in dropped.said
        assert answer.text.count("\n") == CHUNKS + 4


async def test_a_reader_that_falls_behind_is_dropped(opened: Any, dropped: Dropped) -> None:
    settings = ServerSettings(streams=StreamSettings(stall_timeout=60, max_backlog=10))
    async with opened(talking(), settings=settings) as http:
        await http.post("/sessions", json={"sessionId": "s_1"})
        with deaf(str(http.base_url), "/sessions/s_1/stream") as connection:
            await http.post("/sessions/s_1/tool-calls", json={"name": "talk"})
            with anyio.fail_after(30):
                # It reads, and so slowly that a write takes more than a second.
                while not dropped.seen.is_set():
                    with anyio.move_on_after(1.5):
                        await dropped.seen.wait()
                    taken = 0
                    while taken < 1_000_000 and not dropped.seen.is_set():
                        await anyio.wait_readable(connection)
                        taken += len(connection.recv(65536))
        assert "too slow" in dropped.said
