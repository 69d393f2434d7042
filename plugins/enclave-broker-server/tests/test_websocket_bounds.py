"""A WebSocket whose client sends garbage, too much, or too fast."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from enclave_broker_server.app import create_app
from enclave_broker_server.settings import ServerSettings, SocketSettings
from sockets import Gate, Server, Serving
from websockets.exceptions import ConnectionClosed

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


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def server(gate: Gate, serving: Serving) -> AsyncIterator[Server]:
    settings = ServerSettings(sockets=LIMITS)
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
        asked = (await good.event("tool_call"))["payload"]["callId"]
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
        done = await good.event("tool_result_applied", callId=asked)
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
