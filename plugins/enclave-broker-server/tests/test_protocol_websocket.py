"""How a request becomes a WebSocket, and what then is bounded: uvicorn's part, pinned."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from enclave_broker_server.settings import DoorLimits, ServerSettings, SocketSettings
from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
ASKS = b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
GOOD = b"GET /ws HTTP/1.1\r\n" + ASKS + KEY
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


class App:
    """Takes a socket and what comes over it; ``/refused`` refuses it, ``/stream`` streams."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.extensions: Any = None
        self.gone = anyio.Event()
        self.begun = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            self.begun.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            self.gone.set()
            return
        self.extensions = scope["extensions"]
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] == "/refused":
            headers = [(b"content-type", b"application/json")]
            start = {"type": "websocket.http.response.start", "status": 421, "headers": headers}
            await send(start)
            await send({"type": "websocket.http.response.body", "body": b'{"code": "NO"}'})
            return
        await send({"type": "websocket.accept"})
        while True:
            message = dict(await receive())
            self.received.append(message)
            if message["type"] == "websocket.disconnect":
                self.gone.set()
                return


class Place:
    def __init__(self, app: App, url: str, connect: Any) -> None:
        self.app, self.url, self._connect = app, url, connect

    def wire(self) -> Any:
        return self._connect(self.url)

    async def status(self, *pieces: bytes) -> int:
        """Of the answer, after which the connection is closed."""
        async with self.wire() as wire:
            await wire.send(*pieces)
            said = await wire.rest()
        return int(said.split(b" ")[1]) if said else 0


@pytest.fixture
async def place(serving_app: Any, connect: Any) -> AsyncIterator[Place]:
    app = App()
    settings = ServerSettings(
        limits=DoorLimits(header_timeout=0.5), sockets=SocketSettings(max_message_bytes=1000)
    )
    async with serving_app(app, settings) as url:
        yield Place(app, url, connect)


def frame(payload: bytes, *, first: int) -> bytes:
    """One of a client, masked with zeros."""
    size = len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 65536:
        head = bytes([first, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 0x80 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def close_code(said: bytes) -> int:
    """Of the close frame of a server, which is the first that it sent."""
    assert said[0] == 0x88
    return int.from_bytes(said[2:4], "big")


async def test_it_can_be_refused_with_a_status_and_a_body(place: Place) -> None:
    async with place.wire() as wire:
        await wire.send(GOOD.replace(b"/ws", b"/refused"), b"\r\n")
        answer = await wire.answer()
        assert (answer.status, json.loads(answer.body)) == (421, {"code": "NO"})
        assert await wire.rest() == b""
    assert "websocket.http.response" in place.app.extensions


async def test_messages_come_through(place: Place) -> None:
    async with place.wire() as wire:
        await wire.send(GOOD, b"\r\n")
        assert b" 101 " in await wire.until(b"\r\n\r\n")
        await wire.send(frame(b"one", first=0x81), frame(b"a" * 1000, first=0x82))
        # Longer than its head may take to come: that is over.
        await anyio.sleep(0.6)
        await wire.send(frame(b"\x03\xe8", first=0x88))
        assert close_code(await wire.rest()) == 1000
    assert [message.get("text", message.get("bytes")) for message in place.app.received] == [
        "one",
        b"a" * 1000,
        None,
    ]


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /ws HTTP/1.1\r\n" + ASKS + KEY,
        b"POST /ws HTTP/1.1\r\nContent-Length: 3\r\n" + ASKS + KEY,
        b"GET /ws HTTP/1.0\r\n" + ASKS,
        b"GET /ws HTTP/1.1\r\n" + ASKS,
        GOOD.replace(b"13", b"12"),
        GOOD.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
        GOOD + b"a: " + b"a" * 20_000 + b"\r\n",
        GOOD.replace(b"/ws", b"/ws\xff"),
    ],
)
async def test_what_is_no_request_for_one_is_answered_and_closed(
    place: Place, request_: bytes
) -> None:
    assert 400 <= await place.status(request_, b"\r\n") < 500
    assert await place.status(GOOD.replace(b"/ws", b"/refused"), b"\r\n") == 421


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([frame(b"a" * 1001, first=0x81)], 1009),
        ([frame(b"a" * 600, first=0x01), frame(b"a" * 600, first=0x80)], 1009),
        ([frame(b"\xff\xfe", first=0x81)], 1007),
        ([frame(b"a", first=0x83)], 1002),
        ([frame(b"a", first=0xC1)], 1002),
        ([b"\x81\x03one"], 1002),
        ([b"GET / HTTP/1.1\r\n\r\n"], 1002),
        ([b"\x81\xff" + b"\x7f" * 8 + bytes(4)], 1009),
    ],
)
async def test_what_breaks_the_rules_ends_it(place: Place, pieces: list[bytes], code: int) -> None:
    async with place.wire() as wire:
        await wire.send(GOOD, b"\r\n")
        await wire.until(b"\r\n\r\n")
        await wire.send(*pieces)
        assert close_code(await wire.rest()) == code
    with anyio.fail_after(10):
        await place.app.gone.wait()
    assert [one["type"] for one in place.app.received] == ["websocket.disconnect"]


@pytest.mark.parametrize("size", [1000, 1001, 20 * MIB])
async def test_a_message_is_no_larger_for_being_compressed(place: Place, size: int) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = packer.compress(b" " * size) + packer.flush(zlib.Z_SYNC_FLUSH)
    async with place.wire() as wire:
        await wire.send(GOOD + DEFLATE, b"\r\n")
        assert b"permessage-deflate" in await wire.until(b"\r\n\r\n")
        await wire.send(frame(packed[:-4], first=0xC1))
        if size <= 1000:
            await wire.send(frame(b"\x03\xe8", first=0x88))
            assert close_code(await wire.rest()) == 1000
            assert place.app.received[0]["text"] == " " * size
        else:
            assert close_code(await wire.rest()) == 1009
            assert [one["type"] for one in place.app.received] == ["websocket.disconnect"]


async def test_none_begins_in_the_middle_of_an_answer(place: Place) -> None:
    async with place.wire() as wire:
        await wire.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        with anyio.fail_after(10):
            await place.app.begun.wait()
        await wire.send(GOOD, b"\r\n")
        assert b"101" not in await wire.rest()
    with anyio.fail_after(10):
        await place.app.gone.wait()
