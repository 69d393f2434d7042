"""A connection that is to be closed comes to its end, whatever the other side does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from enclave_broker_server.settings import DoorLimits, ServerSettings
from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

SIZE = 30 * 1024 * 1024
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with much, and closes."""
    headers = [(b"content-length", b"%d" % SIZE), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(SIZE)})


@pytest.fixture
async def url(serving_app: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setattr("enclave_broker_server.closing.PATIENCE", 0.3)
    settings = ServerSettings(limits=DoorLimits(max_connections=1))
    async with serving_app(large, settings) as url:
        yield url


async def test_who_reads_nothing_is_cut_off(url: str, connect: Any) -> None:
    async with connect(url) as slow:
        await slow.send(GET)
        await slow.until(b"\r\n\r\n")
        with anyio.fail_after(20):
            while True:
                # There is no place for another one until the first is gone.
                async with connect(url) as other:
                    await other.send(GET)
                    if b" 200 " in await other.until(b"\r\n"):
                        break
        assert len(await slow.rest()) < SIZE


async def test_who_reads_slowly_gets_all(url: str, connect: Any) -> None:
    async with connect(url) as slow:
        await slow.send(GET)
        head, _, body = (await slow.until(b"\r\n\r\n")).partition(b"\r\n\r\n")
        assert b"200 OK" in head
        got, since = len(body), 0
        with anyio.fail_after(60):
            while got < SIZE:
                piece = len(await slow.until(b"\x00"))
                got, since = got + piece, since + piece
                if since > SIZE / 20:
                    # All in all longer than it may take to take nothing.
                    since = 0
                    await anyio.sleep(0.05)
        assert got == SIZE
