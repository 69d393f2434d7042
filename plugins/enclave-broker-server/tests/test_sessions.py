"""Sessions over HTTP: what a client sends and what it is answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from enclave_broker_server.settings import DoorLimits, ServerSettings
from http_client import JSON, STREAM, Client, Names

from enclave_broker_core import (
    Broker,
    SessionSettings,
)

pytestmark = pytest.mark.anyio


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
        (dict.fromkeys(map(str, range(100))), "400", "INVALID_REQUEST", "more than 50 keys"),
        ({"config": dict.fromkeys(map(str, range(100)))}, "400", "INVALID_REQUEST", "50 keys"),
        ({"code": 5}, "400", "INVALID_REQUEST", "code"),
        ({"code": "x" * 1001}, "413", "PAYLOAD_TOO_LARGE", "longer than 1000 bytes"),
        ({"runtime": "cobol"}, "400", "RUNTIME_ERROR", "no runtime named 'cobol'"),
        ({"filter": {"mode": "some"}}, "400", "INVALID_FILTER", "mode"),
        ({"allowedTools": ["["]}, "400", "VALIDATION_ERROR", "allowed_tools"),
        ({"clientTools": [{"name": "mine"}]}, "400", "INVALID_REQUEST", "clientTools.0.name"),
        ({"durable": True}, "400", "VALIDATION_ERROR", "keeps no state of running code"),
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
    events = await client.replay("s_a")
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
