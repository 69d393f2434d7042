"""The stock-like client against a server that follows a script, so that it can be trusted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from stock_node import MISSING, NODE, Report, stock_client

from enclave_broker_core import events as wire
from enclave_broker_core.errors import RateLimitedError
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import RunStats

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(NODE is None, reason=MISSING)]

SESSION = "s_scripted"
STATS = RunStats(0.5, 1, 3)
QUICK = ("--session", SESSION, "--reconnect-delay", "5")
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"

Run = Callable[..., Coroutine[Any, Any, Report]]


@dataclass
class Answer:
    """What is written for one request; then the connection is closed, or held open."""

    pieces: list[bytes]
    hold: bool = False


@dataclass
class Script:
    """Answers requests in their order, one connection for each."""

    answers: list[Answer]
    url: str = ""
    requests: list[tuple[str, dict[str, str], str]] = field(default_factory=list)

    async def serve(self, client: SocketStream) -> None:
        async with client:
            try:
                self.requests.append(await _request(client))
            except anyio.EndOfStream:
                return  # Node opens connections that it has no use for
            answer = self.answers.pop(0) if self.answers else status(404)
            for piece in answer.pieces:
                await client.send(piece)
            if answer.hold:
                async for _ in client:
                    pass


async def _request(client: SocketStream) -> tuple[str, dict[str, str], str]:
    read = b""
    while b"\r\n\r\n" not in read:
        read += await client.receive()
    head, _, body = read.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += await client.receive()
    return first.removesuffix(" HTTP/1.1"), headers, body.decode()


@asynccontextmanager
async def scripted(*answers: Answer) -> AsyncIterator[Script]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    script = Script(list(answers))
    script.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, script.serve)
        yield script
        tasks.cancel_scope.cancel()


def status(code: int) -> Answer:
    return Answer([b"HTTP/1.1 %d Said\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" % code])


def stream(
    *lines: bytes, part: bytes = b"", whole: bool = True, hold: bool = False, split: int = 0
) -> Answer:
    """Lines, and a part of one; a chunk for all or for every ``split`` bytes; whole with its
    end."""
    text = b"".join(line + b"\n" for line in lines) + part
    parts = [text[at : at + split] for at in range(0, len(text), split)] if split else [text]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in parts if piece]
    return Answer([HEAD, *chunks, *([END] if whole else [])], hold)


def log(*drafts: Draft) -> list[bytes]:
    return [Event(SESSION, seq, *draft).to_json() for seq, draft in enumerate(drafts, 1)]


INIT = wire.session_init(SESSION, 1.8e9)
FINAL = wire.final_ok(b'{"a":null}', STATS)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "code.txt"
    path.write_text("print('ü')")
    return path


@pytest.fixture
def run(code: Path) -> Run:
    async def start(script: Script, *options: str) -> Report:
        return await stock_client(script.url, code, *QUICK, *options)

    return start


async def test_it_takes_everything_that_the_broker_writes(run: Run) -> None:
    full = RateLimitedError("full", scope="global", limit=1, retry_after=0.5)
    lines = log(
        INIT,
        wire.stdout("ü☃\u2028\0"),
        wire.log("warn", "m"),
        wire.log("info", "m", {"a": None}),
        wire.tool_call("c_1", "users:get", b"null", known=True),
        wire.tool_progress("c_1", "receiving", 0.1, 1, 2),
        wire.tool_progress("c_1", "connecting", 0.0),
        wire.tool_succeeded("c_1", 0.1),
        wire.tool_failed("c_2", 0.1, "TOOL_ERROR", "no"),
        wire.partial_result(["run", "r"], b"null", has_next=True),
        wire.partial_error(["run", "r"], full),
        wire.error("m"),
        wire.error("m", "C", True),
        wire.deadline_exceeded(1.0, 0.0),
        wire.catalog_changed("1", ["a"], []),
        wire.final_error(full, STATS),
    )
    beat = wire.heartbeat(SESSION, 1, 1.8e9).to_json()
    lines.insert(1, beat)
    async with scripted(stream(*lines, split=7)) as script:
        report = await run(script)
    assert report.dropped == []
    assert report.events == [json.loads(line) for line in lines]
    assert report.tool_calls == 1
    assert report.outcome["success"] is False
    assert report.outcome["error"] == {"message": "full", "code": "RATE_LIMITED"}
    assert report.outcome["errors"][0]["details"][1] == {"type": "retry_info", "retryDelayMs": 500}


async def test_it_asks_as_the_stock_client_does(run: Run) -> None:
    async with scripted(stream(*log(INIT, FINAL))) as script:
        report = await run(
            script,
            *("--config", '{"maxToolCalls": 3}', "--filter", '{"mode": "include", "rules": []}'),
            *("--header", "Authorization: Bearer x:y"),
        )
    assert report.outcome == {"success": True, "value": {"a": None}}
    ((first, headers, body),) = script.requests
    assert first == "POST /sessions"
    assert headers["content-type"] == "application/json"
    assert headers["accept"] == "application/x-ndjson"
    assert headers["authorization"] == "Bearer x:y"
    assert json.loads(body) == {
        "sessionId": SESSION,
        "code": "print('ü')",
        "config": {"maxToolCalls": 3},
        "filter": {"mode": "include", "rules": []},
    }


GOOD: dict[str, Any] = {"protocolVersion": 2, "sessionId": SESSION, "seq": 2}
STAMP = "2026-01-31T12:00:00.000Z"
OPENING = {"cancelUrl": "/", "expiresAt": STAMP, "encryption": {"enabled": False}}
CALLED = {"callId": "c_1", "toolName": "t", "args": None}
PROGRESS = {"callId": "c_1", "phase": "sending", "elapsedMs": 1}
ENDED = {"ok": False, "error": {"message": "m"}}

BAD: list[tuple[str, Any, str]] = [
    ("session_init", {**OPENING, "expiresAt": "2026-01-31T12:00:00+00:00"}, "expiresAt"),
    ("session_init", {"cancelUrl": "/", "expiresAt": STAMP}, "encryption is missing"),
    ("session_init", {**OPENING, "replayUrl": None}, "replayUrl is null"),
    ("stdout", {}, "chunk is missing"),
    ("stdout", {"chunk": None}, "chunk is null"),
    ("log", {"level": "warning", "message": "m"}, 'level is "warning"'),
    ("log", {"level": "warn", "message": "m", "data": None}, "data is null"),
    ("log", {"level": "warn", "message": "m", "data": []}, "data is []"),
    ("log", {"level": "warn", "message": "m", "data": {"x": 1e999}}, "not JSON"),
    ("tool_call", {**CALLED, "callId": "1"}, "callId"),
    ("tool_call", {**CALLED, "callId": "c_"}, "callId"),
    ("tool_call", {"callId": "c_1", "toolName": "t"}, "args is missing"),
    ("tool_progress", {**PROGRESS, "phase": "waiting"}, "phase"),
    ("tool_progress", {**PROGRESS, "totalBytes": None}, "totalBytes is null"),
    ("tool_progress", {**PROGRESS, "elapsedMs": "1"}, "elapsedMs"),
    ("tool_result_applied", {"callId": "x_1"}, "callId"),
    ("partial_result", {"path": [1], "hasNext": False}, "path"),
    ("partial_result", {"path": [], "hasNext": False, "error": {"message": "m"}}, "error"),
    ("heartbeat", {"ts": 1_769_860_800_000}, "ts is 1769860800000"),
    ("heartbeat", {"ts": "2026-01-31T12:00:00+00:00"}, "ts"),
    ("error", {"message": "m", "code": None}, "code is null"),
    ("deadline_exceeded", {"elapsedMs": 1, "budgetMs": 0}, "budgetMs is 0"),
    ("catalog_changed", {"version": "1", "addedActions": [], "removedActions": None}, "removedA"),
    ("final", {**ENDED, "stats": None}, "stats is null"),
    ("final", {"ok": True, "error": None}, "error is null"),
    ("final", {"ok": False, "error": {"message": "m", "code": None}}, "error is"),
    ("final", {**ENDED, "errors": [{"code": "C", "message": "m", "details": [{}]}]}, "errors is"),
    ("final", {"ok": "true"}, 'ok is "true"'),
    ("started", {}, "type is"),
    ("toString", {}, "type is"),
    ("stdout", [], "payload is []"),
]


def bad_lines() -> list[tuple[bytes, str]]:
    made = [
        (json.dumps({**GOOD, "type": type, "payload": payload}).encode(), said)
        for type, payload, said in BAD
    ]
    chunk = {"type": "stdout", "payload": {"chunk": "x"}}
    for key, value in (
        ("protocolVersion", "2"),
        ("protocolVersion", 1),
        ("sessionId", "scripted"),
        ("seq", 0),
        ("seq", "1"),
        ("seq", None),
    ):
        made.append((json.dumps({**GOOD, **chunk, key: value}).encode(), f"{key} is"))
    made.append((b'{"protocolVersion":2', "not JSON"))
    made.append((b"[]", "not an object"))
    huge = json.dumps({**GOOD, "type": "log", "payload": {"level": "warn", "message": "m"}})
    made.append((huge.replace('"m"', '"m","data":{"a":[1e999]}').encode(), "not finite"))
    return made


async def test_it_drops_each_line_that_the_stock_client_drops(run: Run) -> None:
    bad = bad_lines()
    good = log(INIT, FINAL)
    async with scripted(stream(good[0], *(line for line, _ in bad), good[1])) as script:
        report = await run(script)
    assert [line["line"] for line in report.dropped] == [line.decode() for line, _ in bad]
    for dropped, (_, said) in zip(report.dropped, bad, strict=True):
        assert said in dropped["problem"]
    assert report.types == ["session_init", "final"]
    assert report.outcome["success"] is True


async def test_it_comes_back_for_what_follows_the_last_event(run: Run) -> None:
    lines = log(INIT, wire.stdout("a"), wire.stdout("b"), FINAL)
    beat = wire.heartbeat(SESSION, 2, 1.8e9).to_json()
    async with scripted(
        stream(lines[0], lines[1], beat, part=lines[2][:20], whole=False),
        stream(whole=False),
        stream(lines[2], lines[3]),
    ) as script:
        report = await run(script)
    assert report.asked == [
        "POST /sessions",
        "GET /sessions/ID/stream?from=3",
        "GET /sessions/ID/stream?from=3",
    ]
    assert report.seqs == [1, 2, 3, 4]
    assert report.dropped == []
    assert script.requests[1][1]["accept"] == "application/x-ndjson"


async def test_what_comes_twice_counts_twice(run: Run) -> None:
    lines = log(INIT, wire.tool_call("c_1", "t", b"{}", known=True), FINAL)
    async with scripted(stream(*lines[:2], whole=False), stream(*lines[1:])) as script:
        report = await run(script)
    assert report.tool_calls == 2
    assert report.seqs == [1, 2, 2, 3]


@pytest.mark.parametrize("code", [409, 503])
async def test_a_bare_refusal_is_seen_as_a_failed_reconnect(
    code: int, run: Run, tmp_path: Path
) -> None:
    source = tmp_path / "refused.txt"
    source.write_text("1")
    async with scripted(status(code)) as script:
        report = await stock_client(script.url, source, *QUICK)
    assert report.outcome["error"]["code"] == "RECONNECT_FAILED"
    assert report.asked == ["POST /sessions"] + ["GET /sessions/ID/stream?"] * 3


async def test_attempts_are_counted_from_the_last_stream(run: Run) -> None:
    lines = log(INIT, FINAL)
    lost = [status(500), status(500), stream(lines[0], whole=False)]
    async with scripted(stream(whole=False), *lost, *lost, stream(lines[1])) as script:
        report = await run(script)
    assert report.outcome["success"] is True
    assert len(report.requests) == 8


async def test_only_heartbeats_keep_it_waiting(run: Run) -> None:
    lines = log(INIT, wire.stdout("a"), FINAL)
    async with scripted(
        stream(*lines[:2], whole=False, hold=True), stream(lines[2], whole=False, hold=True)
    ) as script:
        report = await run(script, "--heartbeat-timeout", "200")
    assert report.requests[0]["lost"] == "HEARTBEAT"
    assert report.asked[1:] == ["GET /sessions/ID/stream?from=3"]
    assert report.outcome["success"] is True


async def test_a_stream_that_ends_without_final_is_waited_for(run: Run) -> None:
    lines = log(INIT, FINAL)
    async with scripted(stream(lines[0]), stream(lines[1])) as script:
        report = await run(script, "--heartbeat-timeout", "200")
    assert report.requests[0]["lost"] == "HEARTBEAT"
    assert report.outcome["success"] is True


async def test_who_cancels_sends_text_and_hears_no_more(run: Run) -> None:
    lines = log(INIT, wire.stdout("a"), FINAL)
    async with scripted(stream(*lines[:2], whole=False, hold=True), status(200)) as script:
        report = await run(script, "--cancel-after-event", "stdout", "--reason", "enough")
    assert report.outcome == {"success": False, "error": {"code": "CANCELLED", "message": "enough"}}
    first, headers, body = script.requests[1]
    assert first == f"POST /sessions/{SESSION}/cancel"
    assert headers["content-type"] == "text/plain;charset=UTF-8"
    assert json.loads(body) == {"reason": "enough"}
    assert report.requests[1]["status"] == 200


async def test_it_can_cut_its_own_streams(run: Run) -> None:
    lines = log(INIT, wire.stdout("a"), FINAL)
    async with scripted(
        stream(*lines[:2], whole=False, hold=True), stream(lines[1]), stream(lines[2])
    ) as script:
        cut = str(len(lines[0]) + 10)
        report = await run(script, "--cut-after-bytes", cut, "--cut-after-bytes", "5")
    assert [request.get("lost") for request in report.requests] == ["CUT", "CUT", None]
    assert report.seqs == [1, 3]
    assert report.asked[1:] == ["GET /sessions/ID/stream?from=2"] * 2
