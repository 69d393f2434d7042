"""Streams over HTTP: replays, server-sent events, filters, heartbeats and runs in between."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from enclave_broker_server.settings import ServerSettings, StreamSettings
from http_client import STREAM, Client, Names

from enclave_broker_core import (
    Broker,
    use,
)

pytestmark = pytest.mark.anyio


async def test_a_replay_begins_where_it_is_asked_to(client: Client) -> None:
    events = await client.events({"sessionId": "s_r", "code": 'print("a")'})
    assert await client.replay("s_r") == events
    assert await client.replay("s_r", "?from=0") == events
    assert await client.replay("s_r", "?from=what") == events
    assert await client.replay("s_r", "?from=2") == events[1:]
    assert await client.replay("s_r", "?fromSeq=3") == events[2:]
    # All of it has been seen: still it has to end with the final event.
    assert await client.replay("s_r", "?from=99") == events[-1:]


async def test_server_sent_events_resume_by_the_last_id(client: Client) -> None:
    events = await client.events({"sessionId": "s_e", "code": 'print("a")'})
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "1"}
    answer = await client.http.get("/sessions/s_e/stream", headers=headers)
    assert answer.headers["content-type"] == "text/event-stream"
    parts = [part.split("\ndata: ") for part in answer.text.split("\n\n") if part]
    assert [part[0] for part in parts] == ["id: 2", "id: 3"]
    assert [json.loads(part[1]) for part in parts] == events[1:]
    headers["Last-Event-ID"] = "3"
    # A browser comes back after the end, and this is what stops it.
    assert (await client.http.get("/sessions/s_e/stream", headers=headers)).status_code == 204


async def test_a_filter_chooses_what_is_seen_and_never_hides_the_end(client: Client) -> None:
    chosen = {"mode": "include", "rules": [{"types": {"types": ["stdout"]}}], "alwaysAllow": []}
    events = await client.events({"sessionId": "s_f", "code": 'print("a")', "filter": chosen})
    assert [event["type"] for event in events] == ["stdout", "final"]
    answer = await client.http.get("/sessions/s_f/stream", params={"filter": json.dumps(chosen)})
    assert [json.loads(line)["seq"] for line in answer.text.splitlines()] == [2, 3]
    for bad in ("{", '{"mode": "x"}'):
        answer = await client.http.get("/sessions/s_f/stream", params={"filter": bad})
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_FILTER")


async def test_code_runs_in_an_open_session(client: Client) -> None:
    await client.post("/sessions", {"sessionId": "s_i"})
    first = await client.events({"code": "x = 20"}, "/sessions/s_i/execute")
    second = await client.events({"code": 'print("x")\nx + 1'}, "/sessions/s_i/execute")
    assert [event["type"] for event in second] == ["stdout", "partial_result"]
    assert second[-1]["payload"] == {"path": ["run", "run_2"], "data": 21, "hasNext": False}
    assert second[0]["seq"] == first[-1]["seq"] + 1
    failed = await client.events({"code": "1 / 0"}, "/sessions/s_i/execute")
    assert failed[-1]["payload"]["error"]["code"] == "RUNTIME_ERROR"
    assert (await client.http.get("/sessions/s_i")).json()["state"] == "running"
    answer = await client.post("/sessions/s_i/execute", {"code": "x" * 1001})
    assert answer.status_code == 413


async def test_a_second_run_at_the_same_time_is_a_conflict(client: Client) -> None:
    await client.post("/sessions", {"sessionId": "s_busy"})
    body = {"code": "while True:\n    pass"}
    async with client.http.stream("POST", "/sessions/s_busy/execute", json=body):
        answer = await client.post("/sessions/s_busy/execute", {"code": "1"})
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
        await client.post("/sessions/s_busy/cancel", {})


async def test_a_dropped_connection_does_not_cancel_the_session(opened: Any) -> None:
    called, go = anyio.Event(), anyio.Event()
    broker = Broker(runtime=use("monty", workers=1))

    @broker.tool("wait")
    async def wait() -> str:
        called.set()
        await go.wait()
        return "done"

    async with opened(broker) as http:
        client = Client(http)
        body = {"sessionId": "s_d", "code": 'await call_tool("wait", {})'}
        async with client.http.stream("POST", "/sessions", json=body, headers=STREAM) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            await called.wait()
        go.set()
        events = await client.replay("s_d")
    assert events[-1]["payload"]["result"] == "done"
    assert [event["seq"] for event in events] == [1, 2, 3, 4]


async def test_who_follows_a_session_that_is_deleted_gets_a_final_event(client: Client) -> None:
    await client.post("/sessions", {"sessionId": "s_gone"})
    async with client.http.stream("GET", "/sessions/s_gone/stream") as answer:
        lines = answer.aiter_lines()
        assert json.loads(await anext(lines))["type"] == "session_init"
        await client.http.delete("/sessions/s_gone")
        final = json.loads(await anext(lines))
        assert final["type"] == "final"
        assert final["payload"]["error"]["code"] == "SESSION_CANCELLED"
        with pytest.raises(StopAsyncIteration):
            await anext(lines)


async def test_a_quiet_stream_has_heartbeats_that_are_not_in_the_log(opened: Any) -> None:
    settings = ServerSettings(streams=StreamSettings(heartbeat=1))
    async with opened(Broker(), settings=settings) as http:
        client = Client(http)
        await client.post("/sessions", {"sessionId": "s_h"})
        async with client.http.stream("GET", "/sessions/s_h/stream") as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            beats = [json.loads(await anext(lines)) for _ in range(2)]
        assert [(beat["type"], beat["seq"]) for beat in beats] == [("heartbeat", 1)] * 2
        await client.post("/sessions/s_h/cancel", {})
        assert [event["type"] for event in await client.replay("s_h")] == [
            "session_init",
            "final",
        ]


async def test_more_streams_than_there_may_be_are_refused(opened: Any) -> None:
    settings = ServerSettings(streams=StreamSettings(max_per_session=1))
    async with opened(Broker(), settings=settings) as http:
        client = Client(http)
        await client.post("/sessions", {"sessionId": "s_1"})
        async with client.http.stream("GET", "/sessions/s_1/stream") as answer:
            await anext(answer.aiter_lines())
            second = await client.http.get("/sessions/s_1/stream")
            assert (second.status_code, second.json()["code"]) == (429, "RATE_LIMITED")
        await client.post("/sessions/s_1/cancel", {})
        assert (await client.replay("s_1"))[-1]["type"] == "final"


async def test_a_ticket_opens_one_stream_of_one_session_once(opened: Any) -> None:
    async with opened(Broker(), authenticators=[Names()]) as http:
        client = Client(http)
        ada = {"Authorization": "ada"}
        for name in ("s_1", "s_2"):
            await client.post("/sessions", {"sessionId": name}, **ada)
            await client.post(f"/sessions/{name}/cancel", {}, **ada)
        made = await client.http.post("/sessions/s_1/ticket", headers=ada)
        assert made.status_code == 201
        ticket = made.json()["ticket"]
        other = await client.http.get(f"/sessions/s_2/stream?ticket={ticket}")
        assert other.status_code == 401
        first = await client.http.get(f"/sessions/s_1/stream?ticket={ticket}")
        assert (first.status_code, first.text.count("\n")) == (200, 2)
        again = await client.http.get(f"/sessions/s_1/stream?ticket={ticket}")
        assert (again.status_code, again.json()["code"]) == (401, "UNAUTHENTICATED")
        assert (await client.http.get(f"/sessions/s_1?ticket={ticket}")).status_code == 401
