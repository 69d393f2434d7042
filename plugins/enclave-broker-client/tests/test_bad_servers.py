"""Servers that break the protocol: each is found out, and none is waited for for ever."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from enclave_broker_client import (
    Client,
    ClientSettings,
    ConnectionLostError,
    MissingEventsError,
    ProtocolError,
    ServerError,
    UnavailableError,
)
from server_thread import PATIENCE

from enclave_broker_core import SessionNotFoundError, TooManySessionsError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("bad_server")]

QUICK = ClientSettings(first_pause=0.01, longest_pause=0.05, attempts=3, heartbeat_timeout=0.3)


@pytest.fixture
def bad_server() -> None:
    """What these send is not held against the protocol."""


@asynccontextmanager
async def answering(
    *answers: bytes, settings: ClientSettings = QUICK
) -> AsyncIterator[tuple[Client, list[str]]]:
    """A client of a server that gives these answers one after the other, the last for ever."""
    asked: list[str] = []
    waiting = list(answers)

    async def answer(stream: SocketStream) -> None:
        async with stream:
            # The whole request: to close before would be to reset the connection.
            request = await stream.receive()
            while len(request.partition(b"\r\n\r\n")[2]) < length_of(request):
                request += await stream.receive()
            asked.append(request.partition(b" HTTP")[0].decode())
            said = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            await stream.send(said)
            if b"Connection: hang" in said:
                await stream.receive()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, quietly(answer))
            async with Client(f"http://127.0.0.1:{port}", settings=settings) as client:
                with anyio.fail_after(PATIENCE):
                    yield client, asked
            tasks.cancel_scope.cancel()


def length_of(request: bytes) -> int:
    found = re.search(rb"content-length: (\d+)", request, re.IGNORECASE)
    return int(found[1]) if found else 0


def quietly(answer: Callable[[SocketStream], Any]) -> Callable[[SocketStream], Any]:
    async def act(stream: SocketStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            await answer(stream)

    return act


def head(status: int, kind: str, *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status} So", f"Content-Type: {kind}", "Connection: close", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def event(seq: int, type: str = "stdout", **payload: Any) -> bytes:
    payload = payload or {"chunk": "x"}
    wire = {"protocolVersion": 2, "sessionId": "s_1", "seq": seq, "type": type, "payload": payload}
    return json.dumps(wire).encode() + b"\n"


STREAM = head(200, "application/x-ndjson")
FINAL = {"type": "final", "ok": True}


async def follow(client: Client, from_seq: int = 1) -> list[int]:
    async with client.existing("s_1").events(from_seq) as events:
        return [one.seq async for one in events]


async def test_a_good_one() -> None:
    async with answering(STREAM + event(1) + event(2, **FINAL)) as (client, asked):
        assert await follow(client) == [1, 2]
    assert asked == ["GET /sessions/s_1/stream?from=1"]


async def test_replayed_events_are_left_out() -> None:
    first, second = STREAM + event(1) + event(2), STREAM + event(1) + event(2) + event(3, **FINAL)
    async with answering(first, second) as (client, asked):
        assert await follow(client) == [1, 2, 3]
    assert asked[1:] == ["GET /sessions/s_1/stream?from=3"]


async def test_heartbeats_do_not_move_the_place() -> None:
    beat = event(7, "heartbeat", ts="2026-01-01T00:00:00.000Z")
    first, second = STREAM + event(1) + beat, STREAM + beat + event(2, **FINAL)
    async with answering(first, second) as (client, asked):
        assert await follow(client) == [1, 2]
    assert asked[1:] == ["GET /sessions/s_1/stream?from=2"]


async def test_missing_events() -> None:
    async with answering(STREAM + event(1) + event(4)) as (client, _):
        with pytest.raises(MissingEventsError) as caught:
            await follow(client)
    assert (caught.value.first, caught.value.last) == (2, 3)


async def test_missing_events_at_the_beginning() -> None:
    async with answering(STREAM + event(6)) as (client, _):
        with pytest.raises(MissingEventsError, match="event 5 is missing"):
            await follow(client, 5)


async def test_events_that_are_no_longer_kept_are_told_of() -> None:
    dropped = {"type": "error", "message": "they are gone", "code": "EVENTS_DROPPED"}
    async with answering(STREAM + event(4, **dropped) + event(5, **FINAL)) as (client, _):
        assert await follow(client) == [4, 5]


@pytest.mark.parametrize(
    "answer",
    [
        STREAM + b"no event\n",
        STREAM + b"\n",
        STREAM + event(1).replace(b"s_1", b"s_2"),
        head(200, "text/html") + event(1),
        head(200, "application/x-ndjson", "X-Refused: 400") + event(1),
        head(200, "application/x-ndjson", "X-Refused: 400") + event(1, **FINAL),
        head(200, "application/x-ndjson", "X-Refused: no")
        + event(1, "final", ok=False, error={"message": "no"}),
        head(200, "application/x-ndjson", "Content-Encoding: gzip") + event(1),
    ],
    ids=range(8),
)
async def test_what_is_no_stream(answer: bytes) -> None:
    async with answering(answer) as (client, asked):
        with pytest.raises(ProtocolError):
            await follow(client)
    # It is not asked again: it would say the same.
    assert len(asked) == 1


async def test_a_line_without_an_end() -> None:
    small = QUICK.model_copy(update={"max_line_bytes": 100})
    endless = STREAM.replace(b"close", b"hang") + b"x" * 101
    async with answering(endless, settings=small) as (client, _):
        with pytest.raises(ProtocolError, match="longer than 100 bytes"):
            await follow(client)


async def test_an_answer_that_is_too_large() -> None:
    small = QUICK.model_copy(update={"max_answer_bytes": 100})
    for status in (200, 500):
        large = head(status, "application/json") + b"[" * 101
        async with answering(large, settings=small) as (client, _):
            with pytest.raises(ProtocolError, match="larger than 100 bytes"):
                await client.tools()


async def test_silence_is_a_lost_connection() -> None:
    silent = STREAM.replace(b"close", b"hang") + event(1)
    async with answering(silent, STREAM + event(2) + event(3, **FINAL)) as (client, asked):
        assert await follow(client) == [1, 2, 3]
    assert len(asked) == 2
    async with answering(silent) as (client, asked):
        with pytest.raises(ConnectionLostError):
            await follow(client)
    # One that brought something, and then as many as are put up with.
    assert len(asked) == QUICK.attempts


async def test_a_stream_that_ends_without_its_final_event() -> None:
    async with answering(STREAM + event(1)) as (client, asked):
        with pytest.raises(ConnectionLostError):
            await follow(client)
    assert len(asked) == QUICK.attempts


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_stream_that_can_not_be_had_now(status: int) -> None:
    async with answering(head(status, "text/plain"), STREAM + event(1, **FINAL)) as (client, asked):
        assert await follow(client) == [1]
    assert len(asked) == 2
    async with answering(head(status, "text/plain", "Retry-After: 3600")) as (client, asked):
        with pytest.raises(ServerError) as caught:
            await follow(client)
    assert caught.value.retry_after == 3600
    assert len(asked) == 1


async def test_a_run_of_which_nothing_is_known() -> None:
    """Somebody else's run must not be taken for it."""
    other = event(1, "partial_result", path=["run", "run_1"], data=1, hasNext=False)
    async with answering(STREAM, STREAM + other) as (client, asked):
        with pytest.raises(ConnectionLostError):
            await client.existing("s_1").run("2")
    assert asked == ["POST /sessions/s_1/execute"]
    named = head(200, "application/x-ndjson", "X-Run-ID: run_2", "X-First-Seq: 1")
    own = event(2, "partial_result", path=["run", "run_2"], data=2, hasNext=False)
    async with answering(named, STREAM + other + own) as (client, asked):
        assert (await client.existing("s_1").run("2")).unwrap() == 2
    assert asked[1:] == ["GET /sessions/s_1/stream?from=1"]


async def test_a_gateway_that_does_not_know_what_became_of_a_run() -> None:
    there = STREAM + event(1) + event(2, **FINAL)
    async with answering(head(504, "text/html"), there) as (client, asked):
        assert (await client.run("1", session_id="s_1")).ok
    assert asked == ["POST /sessions", "GET /sessions/s_1/stream?from=1"]
    refused = head(409, "application/json") + b'{"code": "CONFLICT", "message": "taken"}'
    missing = head(404, "application/json") + b'{"code": "NOT_FOUND", "message": "no"}'
    # It was not there yet when it was looked for, and is when it is sent again.
    async with answering(head(502, "text/html"), missing, refused, there) as (client, asked):
        assert (await client.run("1", session_id="s_1")).ok
    assert [one.partition(" ")[0] for one in asked] == ["POST", "GET", "POST", "GET"]
    # What is somebody else's is there and can't be seen: that comes to an end too.
    async with answering(
        head(502, "text/html"), missing, refused, missing, refused, missing, refused
    ) as (client, asked):
        with pytest.raises(ServerError):
            await client.run("1", session_id="s_1")


async def test_a_refusal_says_when_to_try_again() -> None:
    detail = {"type": "retry_info", "retryDelayMs": 2500}
    error = {"code": "TOO_MANY_SESSIONS", "message": "full"}
    refused = head(200, "application/x-ndjson", "X-Refused: 429", "Retry-After: 3") + event(
        1, "final", ok=False, error=error, errors=[{**error, "details": [detail]}]
    )
    async with answering(refused) as (client, _):
        with pytest.raises(TooManySessionsError) as caught:
            await client.run("1", session_id="s_1")
    assert caught.value.retry_after == 2.5
    assert caught.value.details == (detail,)
    refused = head(503, "application/json", "Retry-After: 7") + b'{"code":"X","message":"later"}'
    async with answering(refused) as (client, _):
        with pytest.raises(UnavailableError) as stopping:
            await client.run("1", session_id="s_1")
        assert await client.ready() is False
        with pytest.raises(UnavailableError):
            await client.tools()
    assert (stopping.value.code, stopping.value.retry_after) == ("X", 7)


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"[]", b"{}", b'{"sessions": {}}', b'{"sessions": [{}]}', b'{"sessions": [1]}'],
)
async def test_answers_that_are_none(body: bytes) -> None:
    async with answering(head(200, "application/json") + body) as (client, _):
        with pytest.raises(ProtocolError):
            await client.sessions()


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b'{"ok": 1}', b'{"ok": true}', b'{"ok": false}', b'{"ok": false, "error": 1}'],
)
async def test_calls_that_are_answered_with_nothing(body: bytes) -> None:
    async with answering(head(200, "application/json") + body) as (client, _):
        with pytest.raises(ProtocolError):
            await client.existing("s_1").call("a:b")


async def test_an_error_that_is_none_of_the_protocol() -> None:
    async with answering(head(500, "text/html") + b"<html>") as (client, _):
        with pytest.raises(ServerError, match="the server answered 500") as caught:
            await client.tools()
    assert caught.value.status == 500
    async with answering(head(404, "text/html") + b"<html>") as (client, _):
        with pytest.raises(SessionNotFoundError):
            await follow(client)


async def test_a_redirection_is_not_followed() -> None:
    moved = head(307, "text/html", "Location: http://127.0.0.1:1/")
    async with answering(moved) as (client, asked):
        with pytest.raises(ServerError):
            await client.run("1", session_id="s_1")
    assert len(asked) == 1
