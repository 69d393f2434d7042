"""Sessions over HTTP: what a client sends and what it is answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from enclave_broker_server.settings import DoorLimits, ServerSettings, StreamSettings

from enclave_broker_core import (
    Broker,
    Credentials,
    Principal,
    SessionLimits,
    SessionSettings,
    use,
)

pytestmark = pytest.mark.anyio

STREAM = {"Accept": "application/x-ndjson"}
JSON = {"Accept": "application/json"}


class Names:
    """Everybody is who they say they are."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        name = credentials.headers.get("authorization")
        return None if name is None else Principal(id=name, roles=frozenset({name}))


class Client:
    """The server as one caller sees it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return await self.http.post(path, json=body, headers={**STREAM, **headers})

    async def events(self, body: Any, path: str = "/sessions", **headers: str) -> list[Any]:
        answer = await self.post(path, body, **headers)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture
async def client(opened: Any) -> AsyncIterator[Client]:
    broker = Broker(runtime=use("monty", workers=1), limits=SessionLimits(max_code_bytes=1000))

    @broker.tool("users:get")
    async def get(id: int) -> dict[str, Any]:
        """Look a user up."""
        return {"id": id, "name": None}

    async with opened(broker) as http:
        yield Client(http)


async def test_a_session_with_code_streams_its_events(client: Client) -> None:
    code = 'print("hi")\nawait call_tool("users:get", {"id": 1})'
    answer = await client.post("/sessions", {"sessionId": "s_one", "code": code})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-session-id"] == "s_one"
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [event["type"] for event in events] == [
        "session_init",
        "stdout",
        "tool_call",
        "tool_result_applied",
        "final",
    ]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    assert {event["sessionId"] for event in events} == {"s_one"}
    final = events[-1]["payload"]
    assert final["ok"] is True
    assert final["result"] == {"id": 1, "name": None}
    assert final["stats"]["toolCallCount"] == 1
    assert events[0]["payload"]["cancelUrl"] == "/sessions/s_one/cancel"


async def test_its_config_lowers_the_limits(client: Client) -> None:
    code = 'for n in range(3):\n    await call_tool("users:get", {"id": n})'
    events = await client.events({"code": code, "config": {"maxToolCalls": 2}})
    outcomes = [event["payload"] for event in events if event["type"] == "tool_result_applied"]
    assert [outcome.get("code") for outcome in outcomes] == [None, None, "MAX_TOOL_CALLS"]
    events = await client.events(
        {"code": "while True:\n    pass", "config": {"maxExecutionMs": 100}}
    )
    assert [event["type"] for event in events][-2:] in (
        ["deadline_exceeded", "final"],
        ["session_init", "final"],  # the sandbox may have found out first
    )
    assert events[-1]["payload"]["error"]["code"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    ("more", "status", "code", "said"),
    [
        ({"config": {"maxToolCalls": -1}}, "400", "INVALID_REQUEST", "config.maxToolCalls"),
        ({"config": {"maxToolCals": 1}}, "400", "INVALID_REQUEST", "is not known here"),
        ({"config": []}, "400", "INVALID_REQUEST", "config"),
        ({"code": 5}, "400", "INVALID_REQUEST", "code"),
        ({"code": "x" * 1001}, "413", "PAYLOAD_TOO_LARGE", "longer than 1000 bytes"),
        ({"runtime": "cobol"}, "400", "RUNTIME_ERROR", "no runtime named 'cobol'"),
        ({"filter": {"mode": "some"}}, "400", "INVALID_FILTER", "mode"),
        ({"allowedTools": ["["]}, "400", "VALIDATION_ERROR", "allowed_tools"),
        ({"clientTools": [{"name": "mine"}]}, "400", "VALIDATION_ERROR", "client:"),
        ({"metadata": {"x": "y" * 70_000}}, "400", "VALIDATION_ERROR", "metadata"),
    ],
)
async def test_a_refusal_is_a_final_event_to_who_takes_events(
    client: Client, more: dict[str, Any], status: str, code: str, said: str
) -> None:
    body = {"sessionId": "s_refused", "code": "1", **more}
    answer = await client.post("/sessions", body)
    assert answer.status_code == 200
    assert answer.headers["x-refused"] == status
    (line,) = answer.text.splitlines()
    event = json.loads(line)
    assert (event["seq"], event["type"], event["sessionId"]) == (1, "final", "s_refused")
    assert event["payload"]["ok"] is False
    assert event["payload"]["error"]["code"] == code
    assert said in event["payload"]["error"]["message"]
    bare = await client.post("/sessions", body, **JSON)
    assert str(bare.status_code) == status
    assert said in bare.json()["message"]
    assert (await client.http.get("/sessions/s_refused")).status_code == 404


async def test_an_id_that_is_taken_is_refused_and_the_other_goes_on(client: Client) -> None:
    first = await client.post("/sessions", {"sessionId": "s_taken"})
    assert first.status_code == 201
    answer = await client.post("/sessions", {"sessionId": "s_taken", "code": "1"})
    assert answer.headers["x-refused"] == "409"
    assert json.loads(answer.text)["payload"]["error"]["code"] == "SESSION_EXISTS"
    assert (await client.post("/sessions", {"sessionId": "s_taken"}, **JSON)).status_code == 409
    assert (await client.http.get("/sessions/s_taken")).json()["state"] == "running"


@pytest.mark.parametrize("given", ["x", "s_", "s_" + "a" * 65, "s_ä", "s_a/b", 7, "s_a\n"])
async def test_an_id_of_another_form_is_a_bare_400(client: Client, given: Any) -> None:
    answer = await client.post("/sessions", {"sessionId": given, "code": "1"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"code": "1"', "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "application/json", 400),
        (b'{"code": "1"}', "text/plain", 415),
        (b"code=1", "application/x-www-form-urlencoded", 415),
        (b"", "application/json", 400),
    ],
)
async def test_a_body_that_cant_be_read_is_a_bare_refusal(
    client: Client, content: bytes, kind: str, status: int
) -> None:
    headers = {**STREAM, "Content-Type": kind}
    answer = await client.http.post("/sessions", content=content, headers=headers)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message"}


async def test_a_session_is_shown_listed_cancelled_and_deleted(client: Client) -> None:
    made = (await client.post("/sessions", {"sessionId": "s_a", "metadata": {"x": 1}})).json()
    assert (made["sessionId"], made["state"]) == ("s_a", "running")
    assert made["expiresAt"] - made["createdAt"] == 3_600_000
    assert made["stats"] == {"duration": 0, "toolCallCount": 0} or made["stats"]["duration"] < 1000
    listed = (await client.http.get("/sessions")).json()
    assert [one["sessionId"] for one in listed["sessions"]] == ["s_a"]
    assert listed["total"] == 1
    # As the stock client sends it.
    kind = {"Content-Type": "text/plain;charset=UTF-8"}
    for _ in range(2):
        answer = await client.http.post(
            "/sessions/s_a/cancel", content='{"reason": "enough"}', headers=kind
        )
        assert answer.json() == {"success": True, "sessionId": "s_a"}
    events = await _replay(client, "s_a")
    assert events[-1]["payload"]["error"] == {"message": "enough", "code": "SESSION_CANCELLED"}
    assert (await client.http.get("/sessions/s_a")).json()["state"] == "cancelled"
    assert (await client.http.get("/sessions")).json() == {"sessions": [], "total": 0}
    assert (await client.http.get("/sessions?ended=true")).json()["total"] == 1
    assert (await client.http.delete("/sessions/s_a")).json() == {
        "success": True,
        "sessionId": "s_a",
    }
    for answer in (
        await client.http.delete("/sessions/s_a"),
        await client.http.get("/sessions/s_a"),
    ):
        assert answer.status_code == 404
        assert answer.json()["code"] == "NOT_FOUND"


async def _replay(client: Client, session_id: str, query: str = "") -> list[Any]:
    answer = await client.http.get(f"/sessions/{session_id}/stream{query}")
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_a_replay_begins_where_it_is_asked_to(client: Client) -> None:
    events = await client.events({"sessionId": "s_r", "code": 'print("a")'})
    assert await _replay(client, "s_r") == events
    assert await _replay(client, "s_r", "?from=0") == events
    assert await _replay(client, "s_r", "?from=what") == events
    assert await _replay(client, "s_r", "?from=2") == events[1:]
    assert await _replay(client, "s_r", "?fromSeq=3") == events[2:]
    # All of it has been seen: still it has to end with the final event.
    assert await _replay(client, "s_r", "?from=99") == events[-1:]


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
        events = await _replay(client, "s_d")
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
        assert [event["type"] for event in await _replay(client, "s_h")] == [
            "session_init",
            "final",
        ]


async def test_more_sessions_than_there_may_be_are_refused(opened: Any) -> None:
    broker = Broker(sessions=SessionSettings(max_concurrent=1))
    async with opened(broker) as http:
        client = Client(http)
        await client.post("/sessions", {"sessionId": "s_1"})
        answer = await client.post("/sessions", {"sessionId": "s_2", "code": "1"})
        assert answer.headers["x-refused"] == "429"
        assert int(answer.headers["retry-after"]) > 0
        payload = json.loads(answer.text)["payload"]
        assert payload["error"]["code"] == "TOO_MANY_SESSIONS"
        assert payload["errors"][0]["details"][0]["type"] == "retry_info"
        bare = await client.post("/sessions", {"sessionId": "s_2"}, **JSON)
        assert (bare.status_code, bare.json()["code"]) == (429, "RATE_LIMITED")
        assert int(bare.headers["retry-after"]) > 0


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
        assert (await _replay(client, "s_1"))[-1]["type"] == "final"


async def test_a_session_is_its_principals_alone(opened: Any) -> None:
    broker = Broker(sessions=SessionSettings(admin_roles=frozenset({"root"})))
    async with opened(broker, authenticators=[Names()]) as http:
        client = Client(http)
        nobody = await client.post("/sessions", {"sessionId": "s_ada", "code": "1"})
        assert nobody.status_code == 401
        assert nobody.headers["www-authenticate"] == "Bearer"
        assert nobody.json()["code"] == "UNAUTHENTICATED"
        ada, bob, root = ({"Authorization": name} for name in ("ada", "bob", "root"))
        assert (await client.post("/sessions", {"sessionId": "s_ada"}, **ada)).status_code == 201
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("GET", "/stream"),
            ("POST", "/cancel"),
            ("POST", "/ticket"),
            ("GET", "/tool-calls"),
        ):
            answer = await client.http.request(method, f"/sessions/s_ada{path}", headers=bob)
            unknown = await client.http.request(method, f"/sessions/s_none{path}", headers=bob)
            assert answer.status_code == unknown.status_code == 404
            same = unknown.json()["message"].replace("s_none", "s_ada")
            assert answer.json()["message"] == same
        assert (await client.http.get("/sessions", headers=bob)).json()["total"] == 0
        assert (await client.http.get("/sessions", headers=ada)).json()["total"] == 1
        assert (await client.http.get("/sessions/s_ada", headers=root)).status_code == 200


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


async def test_too_large_a_body_is_refused_while_it_comes(opened: Any) -> None:
    settings = ServerSettings(limits=DoorLimits(max_body_bytes=1000))
    async with opened(Broker(), settings=settings) as http:
        client = Client(http)

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b" " * 200

        headers = {"Content-Type": "application/json"}
        for content in (b" " * 1001, endless()):
            answer = await client.http.post("/sessions", content=content, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
