"""A WebSocket of which every byte is the test's: what is no frame, and who does not read."""

from __future__ import annotations

import json
import logging
import socket as sockets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from anyio.lowlevel import checkpoint
from enclave_broker_server import closing
from enclave_broker_server.settings import ServerSettings, SocketSettings, StreamSettings
from sockets import SECONDS, Gate, Server, Serving
from websockets.frames import Frame, Opcode

from enclave_broker_core.contracts import Credentials
from enclave_broker_core.models import Principal

pytestmark = pytest.mark.anyio

LIMITS = SocketSettings(max_message_bytes=20_000, max_messages_per_second=1000)
NO_FRAMES = [
    (b"\x81\x02{}", 1002),  # not masked
    (b"\x83\x80\0\0\0\0", 1002),  # an opcode that there is not
    (b"\xf1\x80\0\0\0\0", 1002),  # bits that mean nothing
    (b"\x80\x80\0\0\0\0", 1002),  # goes on with nothing
    (b"\x09\x80\0\0\0\0", 1002),  # a ping in pieces
    (b"\x89\xfe\x00\x7e" + bytes(130), 1002),  # a ping that is too long
    (b"\x88\x82\0\0\0\0\x00\x01", 1002),  # closes for no reason
    (b"\x81\x82\0\0\0\0\xff\xfe", 1007),  # not UTF-8
    (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),  # longer than can be
    (b"\x81\xff\x00\x00\x00\x00\x40\x00\x00\x00\0\0\0\0", 1009),  # a gigabyte
    (b"GET / HTTP/1.1\r\n\r\n", 1002),
]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def server(gate: Gate, serving: Serving) -> AsyncIterator[Server]:
    settings = ServerSettings(sockets=LIMITS)
    async with gate.broker() as broker, serving(broker, settings=settings) as url:
        yield Server(broker, url)


@pytest.fixture
async def hasty(gate: Gate, serving: Serving) -> AsyncIterator[Server]:
    """A server that does not wait for long."""
    settings = ServerSettings(streams=StreamSettings(stall_timeout=0.5))
    async with gate.broker() as broker, serving(broker, settings=settings) as url:
        yield Server(broker, url)


class Raw:
    """A WebSocket of which a test writes every byte."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream

    async def text(self, **message: Any) -> None:
        frame = Frame(Opcode.TEXT, json.dumps(message).encode())
        await self.stream.send(frame.serialize(mask=True))

    async def frames(self) -> list[tuple[int, bytes]]:
        """What comes up to the frame that closes, or to the end: opcodes and payloads."""
        data = b""
        found: list[tuple[int, bytes]] = []
        with anyio.fail_after(SECONDS), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while not found or found[-1][0] != 8:
                data += await self.stream.receive()
                while (frame := _first(data)) is not None:
                    opcode, payload, data = frame
                    found.append((opcode, payload))
        return found


def _first(data: bytes) -> tuple[int, bytes, bytes] | None:
    """The opcode and the payload of the first whole frame, and what comes after it."""
    length, head = (data[1], 2) if len(data) > 1 else (0, 2)
    if length > 125:
        head = 4 if length == 126 else 10
        length = int.from_bytes(data[2:head], "big")
    if len(data) < head + length:
        return None
    return data[0] & 15, data[head : head + length], data[head + length :]


@asynccontextmanager
async def asking(
    server: Server, session_id: str, buffer: int | None = None
) -> AsyncIterator[SocketStream]:
    """A connection on which a WebSocket has been asked for."""
    connection = sockets.socket()
    if buffer is not None:
        connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, buffer)
    connection.connect(server.address)
    connection.setblocking(False)
    async with await SocketStream.from_socket(connection) as stream:
        await stream.send(
            f"GET /sessions/{session_id}/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        yield stream


@asynccontextmanager
async def raw(server: Server, session_id: str, buffer: int | None = None) -> AsyncIterator[Raw]:
    async with asking(server, session_id, buffer) as stream:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await stream.receive(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        yield Raw(stream)


async def test_what_is_no_frame_ends_the_socket_and_nothing_else(
    server: Server, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    session = await server.session()
    async with server.socket(session.id) as good:
        for data, code in NO_FRAMES:
            async with raw(server, session.id) as bad:
                await bad.text(type="tool_call", id="w", name="wait")
                await good.event("tool_call", toolName="wait")
                await bad.stream.send(data)
                # Events that are sent while the connection is closed already.
                for n in range(10):
                    await good.call("echo", value=n)
                    await good.answer()
                opcode, payload = (await bad.frames())[-1]
                assert (opcode, int.from_bytes(payload[:2], "big")) == (8, code), data
        gate.open.set()
        for _ in NO_FRAMES:
            await good.event("tool_result_applied", ok=True)
    assert not session.busy
    assert [r for r in caplog.records if r.name.startswith("enclave_broker_server")] == []


@pytest.mark.parametrize("data", [b"", b"\x81", b"\x81\x85\0\0\0\0he", b"\x01\x82\0\0\0\0{}"])
async def test_a_half_closed_socket_ends(server: Server, data: bytes) -> None:
    session = await server.session()
    async with raw(server, session.id) as half:
        if data:
            await half.stream.send(data)
        await half.stream.send_eof()
        assert [opcode for opcode, _ in await half.frames()][:1] in ([], [1])
    assert not session.is_ending


class Told(logging.Handler):
    """Knows when a reader was dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped = anyio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "too slow" in record.getMessage():
            self.dropped.set()


@pytest.fixture
def told() -> Iterator[Told]:
    handler = Told()
    logger = logging.getLogger("enclave_broker_server.socket_wire")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


async def test_who_does_not_read_is_dropped_and_can_come_back(hasty: Server, told: Told) -> None:
    session = await hasty.session()
    async with raw(hasty, session.id, buffer=4096) as slow:
        async with anyio.create_task_group() as tasks:

            async def talk() -> None:
                for n in range(100):
                    await session.call("echo", {"value": f"{n}" + "x" * 100_000})

            tasks.start_soon(talk)
            with anyio.fail_after(SECONDS):
                await told.dropped.wait()
        got = [json.loads(payload) for opcode, payload in await slow.frames() if opcode == 1]
    assert 0 < len(got) < 200
    assert [event["seq"] for event in got] == list(range(1, len(got) + 1))
    async with hasty.socket(session.id, f"?from={len(got) + 1}") as socket:
        await session.complete()
        assert await socket.closed() == 1000
    assert len(got) + len(socket.events) == 202


async def test_who_never_reads_is_cut_off(hasty: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "PATIENCE", 0.2)
    session = await hasty.session()
    for _ in range(100):
        await session.call("echo", {"value": "x" * 100_000})
    async with raw(hasty, session.id, buffer=4096) as silent:
        ping = Frame(Opcode.PING, b"still here").serialize(mask=True)
        # What it says keeps nothing open; that it is cut off is told by the answer to it.
        with anyio.fail_after(SECONDS), pytest.raises(anyio.BrokenResourceError):
            while True:
                await silent.stream.send(ping)
    assert not session.is_ending


async def test_an_error_has_the_seq_of_what_was_sent_and_not_of_what_will_be(
    server: Server,
) -> None:
    session = await server.session()
    for _ in range(100):
        await session.call("echo", {"value": "x" * 100_000})
    async with raw(server, session.id, buffer=4096) as slow:
        await slow.stream.send(Frame(Opcode.TEXT, b"garbage").serialize(mask=True))
        await slow.text(type="cancel")
        told = [json.loads(payload) for opcode, payload in await slow.frames() if opcode == 1]
    (at,) = (n for n, event in enumerate(told) if event["type"] == "error")
    assert told[at]["seq"] == told[at - 1]["seq"] < told[-1]["seq"] - 1
    assert told[-1]["type"] == "final"


async def test_a_message_in_countless_pieces_ends_the_socket(server: Server) -> None:
    session = await server.session()
    begin = Frame(Opcode.TEXT, b"{", fin=False).serialize(mask=True)
    more = Frame(Opcode.CONT, b"", fin=False).serialize(mask=True)
    async with raw(server, session.id) as socket:
        await socket.stream.send(begin + more * 5000)
        opcode, payload = (await socket.frames())[-1]
    assert (opcode, int.from_bytes(payload[:2], "big")) == (8, 1009)
    assert not session.is_ending


async def test_answers_to_pings_do_not_pile_up_before_who_does_not_read(server: Server) -> None:
    session = await server.session()
    ping = Frame(Opcode.PING, b"x" * 125).serialize(mask=True)
    async with raw(server, session.id, buffer=4096) as socket:
        for _ in range(160):
            await socket.stream.send(ping * 1000)  # 20 MB in all
        await socket.text(type="cancel")
        pongs = [payload for opcode, payload in await socket.frames() if opcode == 10]
    assert 0 < len(pongs) < 100_000
    assert session.ended.is_set()


class Slow:
    """Knows everybody, but only after who asks has gone."""

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.gone = anyio.Event()

    async def authenticate(self, credentials: Credentials) -> Principal:
        self.asked.set()
        await self.gone.wait()
        for _ in range(50):  # until the server has seen it
            await checkpoint()
        return Principal.anonymous()


async def test_who_leaves_before_the_socket_is_open_disturbs_nobody(
    gate: Gate, serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow()
    async with gate.broker() as broker:
        async with serving(broker, authenticators=[slow]) as url:
            server = Server(broker, url)
            session = await server.session()
            async with asking(server, session.id):
                await slow.asked.wait()
            slow.gone.set()
        assert not session.is_ending
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
