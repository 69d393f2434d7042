"""A WebSocket whose client sends garbage, too much, too fast, or does not read."""

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
from enclave_broker_server.app import create_app
from enclave_broker_server.settings import ServerSettings, SocketSettings, StreamSettings
from sockets import SECONDS, Gate, Server, Serving
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

pytestmark = pytest.mark.anyio

LIMITS = SocketSettings(max_message_bytes=20_000, max_messages_per_second=1000, max_calls=2)
DEEP = "[" * 70 + "]" * 70
TOO_BIG = "x" * 30_000
UNCLEAR: list[tuple[str | bytes, str]] = [
    ("", "not JSON"),
    ("hello", "not JSON"),
    ('{"type":"cancel"', "not JSON"),
    ('{"type":"execute","code":"\\ud800"}', "not JSON"),
    ('{"type":"tool_call","id":"1","name":"echo","args":{"value":NaN}}', "not JSON"),
    ('{"type":"tool_call","id":"1","name":"echo","args":{"value":1e999}}', "too large"),
    (f'{{"type":"tool_call","id":"1","name":"echo","args":{{"value":{DEEP}}}}}', "nested"),
    ("[" * 9000, "not JSON"),
    ("null", "must be a JSON object"),
    ("[]", "must be a JSON object"),
    ('"cancel"', "must be a JSON object"),
    ("{}", "the type of a message"),
    ('{"type":null}', "the type of a message"),
    ('{"type":["cancel"]}', "the type of a message"),
    ('{"type":"tool_progress"}', "the type of a message"),
    ('{"type":"cancel","reason":1}', "reason"),
    ('{"type":"cancel","Reason":"x"}', "Reason: is not known"),
    ('{"type":"execute"}', "code"),
    ('{"type":"execute","code":null}', "code"),
    ('{"type":"execute","code":"1","extra":1}', "extra: is not known"),
    ('{"type":"tool_call","id":1,"name":"echo"}', "id"),
    ('{"type":"tool_call","id":"","name":"echo"}', "id"),
    (json.dumps({"type": "tool_call", "id": "i" * 129, "name": "echo"}), "id"),
    (b'{"type":"cancel"}', "as text"),
    (b"\x00\xff", "as text"),
    (b"", "as text"),
]
UNCLEAR_WITH_ID: list[tuple[dict[str, Any], str]] = [
    ({"type": "tool_call", "id": "x"}, "name"),
    ({"type": "tool_call", "id": "x", "name": ""}, "name"),
    ({"type": "tool_call", "id": "x", "name": "echo", "args": []}, "args"),
    ({"type": "tool_call", "id": "x", "name": "echo", "args": None}, "args"),
    ({"type": "tool_call", "id": "x", "name": "echo", "arguments": {}}, "arguments"),
    ({"type": "tool_result", "id": "x"}, "either"),
    ({"type": "tool_result", "id": "x", "data": 1, "error": "y"}, "either"),
    ({"type": "tool_error", "id": "x", "error": {}}, "the type of a message"),
]
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
    settings = ServerSettings(sockets=LIMITS, streams=StreamSettings(stall_timeout=0.5))
    async with gate.broker() as broker, serving(broker, settings=settings) as url:
        yield Server(broker, url)


# Messages that are not understood


async def test_what_is_not_understood_is_an_error_event_that_is_not_in_the_log(
    server: Server,
) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        seq = (await socket.next())["seq"]
        for message, said in UNCLEAR:
            await socket.connection.send(message)
            refused = await socket.next()
            assert (refused["type"], refused["seq"]) == ("error", seq), message
            assert refused["sessionId"] == session.id
            assert refused["payload"]["code"] == "INVALID_REQUEST"
            assert refused["payload"]["recoverable"] is True
            assert said in refused["payload"]["message"]
            await socket.call("echo", value=1)
            seq = (await socket.event("tool_result_applied"))["seq"]
            if not socket.answers:
                await socket.answer()
            assert socket.answers.pop()["data"] == 1
        await session.complete()
        await socket.closed()
    assert socket.logged() == await server.lines(session.id)


async def test_what_has_an_id_is_answered_under_it(server: Server) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        for message, said in UNCLEAR_WITH_ID:
            await socket.send(**message)
            refused = await socket.answer("x")
            assert refused["type"] == "tool_error"
            assert refused["error"]["code"] == "INVALID_REQUEST"
            assert said in refused["error"]["message"]
    assert await session.history() == []


async def test_but_not_where_a_call_that_goes_on_would_seem_to_fail(
    server: Server, gate: Gate
) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.call("wait", "x")
        await gate.begun()
        await socket.send(type="tool_call", id="x")
        assert (await socket.event("error"))["payload"]["code"] == "INVALID_REQUEST"
        gate.open.set()
        assert (await socket.answer("x"))["data"] == "waited"


async def test_garbage_again_and_again_ends_the_socket_and_nothing_else(
    server: Server, gate: Gate
) -> None:
    session = await server.session()
    async with server.socket(session.id) as good, server.socket(session.id) as bad:
        await bad.call("wait")
        await gate.begun()
        for _ in range(9):
            await bad.connection.send("garbage")
        await bad.call("echo", "2", value=1)
        assert (await bad.answer("2"))["data"] == 1
        for _ in range(10):
            await bad.connection.send("garbage")
        assert await bad.closed() == 1008
        assert bad.connection.close_reason == "10 messages in a row were not understood"
        assert len([event for event in bad.events if event["type"] == "error"]) == 19
        gate.open.set()
        done = await good.event("tool_result_applied", callId=session.last_call_id[:-1] + "1")
        assert done["payload"]["ok"] is True
    assert not session.is_ending


# Too much


@pytest.mark.parametrize("pieces", [1, 10])
async def test_a_message_that_is_too_large_ends_the_socket(server: Server, pieces: int) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        part = TOO_BIG[: len(TOO_BIG) // pieces]
        await socket.connection.send(part if pieces == 1 else [part] * pieces)
        assert await socket.closed() == 1009
    assert not session.is_ending


async def test_it_does_so_too_where_the_server_would_let_it_pass(
    gate: Gate, serving_app: Serving
) -> None:
    async with gate.broker() as broker:
        app = create_app(broker, settings=ServerSettings(sockets=LIMITS))
        async with serving_app(app) as url:
            server = Server(broker, url)
            session = await server.session()
            for message in (TOO_BIG, TOO_BIG.encode(), "é" * 15_000):
                async with server.socket(session.id) as socket:
                    await socket.connection.send(message)
                    assert await socket.closed() == 1009
            async with server.socket(session.id) as socket:
                await socket.call("echo", value="x" * 19_900)
                assert len((await socket.answer())["data"]) == 19_900


async def test_a_flood_ends_the_socket_and_not_the_calls(gate: Gate, serving: Serving) -> None:
    settings = ServerSettings(sockets=SocketSettings(max_messages_per_second=20))
    async with gate.broker() as broker, serving(broker, settings=settings) as url:
        server = Server(broker, url)
        session = await server.session()
        async with server.socket(session.id) as socket:
            await socket.call("wait")
            for n in range(19):
                await socket.call("echo", f"n{n}", value=n)
            for n in range(19):
                assert (await socket.answer(f"n{n}"))["data"] == n
            await gate.begun()
            with suppress(ConnectionClosed):
                for n in range(500):
                    await socket.call("echo", f"f{n}", value=n)
            assert await socket.closed() == 1008
            assert socket.connection.close_reason == "more than 20 messages in a second"
        assert not session.is_ending
        gate.open.set()
        async with server.socket(session.id) as socket:
            await socket.event("tool_result_applied", ok=True)


async def test_so_many_calls_at_a_time(server: Server, gate: Gate) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.call("wait", "a")
        await socket.call("wait", "b")
        await socket.call("echo", "c", value=1)
        refused = await socket.answer("c")
        assert refused["error"]["code"] == "RATE_LIMITED"
        assert refused["error"]["details"] == [
            {"type": "quota_info", "limit": 2, "used": 2},
            {"type": "retry_info", "retryDelayMs": 1000},
        ]
        # A place of its own has each socket.
        async with server.socket(session.id) as other:
            await other.call("echo", "c", value=1)
            assert (await other.answer("c"))["data"] == 1
        gate.open.set()
        await socket.answer("a")
        await socket.call("echo", "c", value=2)
        assert (await socket.answer("c"))["data"] == 2


# What is no WebSocket's frame, and a client that does not read


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
async def raw(server: Server, session_id: str, buffer: int | None = None) -> AsyncIterator[Raw]:
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


async def test_who_does_not_read_is_dropped_and_can_come_back(server: Server, told: Told) -> None:
    session = await server.session()
    async with raw(server, session.id, buffer=4096) as slow:
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
    async with server.socket(session.id, f"?from={len(got) + 1}") as socket:
        await session.complete()
        assert await socket.closed() == 1000
    assert len(got) + len(socket.events) == 202
