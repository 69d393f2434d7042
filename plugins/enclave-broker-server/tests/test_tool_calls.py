"""Tool calls over HTTP, their history, idempotency keys and the client's own tools."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from enclave_broker_server.settings import ServerSettings

from enclave_broker_core import Broker, Rate, RateLimiter

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def in_session(
    opened: Any, broker: Broker, **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(broker, **options) as http:
        await http.post("/sessions", json={"sessionId": "s_1"})
        yield http


class Counting:
    """A broker with a tool that counts its runs."""

    def __init__(self, **options: Any) -> None:
        self.runs = 0
        self.go = anyio.Event()
        self.waiting = anyio.Event()
        self.broker = Broker(**options)

        @self.broker.tool("count")
        async def count(n: int = 0) -> int:
            self.runs += 1
            return self.runs

        @self.broker.tool("slow")
        async def slow() -> int:
            self.runs += 1
            self.waiting.set()
            await self.go.wait()
            return self.runs

        @self.broker.tool("fail")
        async def fail() -> None:
            self.runs += 1
            raise ValueError("no luck")


CALLS = "/sessions/s_1/tool-calls"


async def test_a_call_is_answered_with_what_came_of_it(opened: Any) -> None:
    async with in_session(opened, Counting().broker) as http:
        answer = (await http.post(CALLS, json={"id": "mine", "name": "count"})).json()
        assert answer.pop("durationMs") >= 0
        assert answer == {"id": "mine", "name": "count", "ok": True, "data": 1}
        failed = (await http.post(CALLS, json={"name": "fail"})).json()
        assert failed["ok"] is False
        assert failed["error"]["code"] == "TOOL_ERROR"
        assert "no luck" in failed["error"]["message"]
        wrong = (await http.post(CALLS, json={"name": "count", "args": {"n": "x"}})).json()
        assert wrong["error"]["code"] == "VALIDATION_ERROR"
        assert wrong["error"]["details"][0]["field"] == "n"
        unknown = (await http.post(CALLS, json={"name": "cuont"})).json()
        assert unknown["error"]["code"] == "UNKNOWN_TOOL"
        assert "'count'" in unknown["error"]["message"]
        history = (await http.get(CALLS)).json()
        assert [one["tool"] for one in history["toolCalls"]] == ["count", "fail", "count", "cuont"]
        assert history["total"] == 4
        # Without an id of the client's own the answer has the one that is in the events.
        assert failed["id"] == history["toolCalls"][1]["callId"]


@pytest.mark.parametrize(
    "body", [[], {}, {"name": 5}, {"name": "count", "args": []}, {"name": "count", "more": 1}]
)
async def test_what_is_no_call_is_a_400(opened: Any, body: Any) -> None:
    async with in_session(opened, Counting().broker) as http:
        answer = await http.post(CALLS, json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
        assert (await http.get(CALLS)).json()["total"] == 0


async def test_a_call_in_a_session_that_has_ended_is_a_conflict(opened: Any) -> None:
    async with in_session(opened, Counting().broker) as http:
        await http.post("/sessions/s_1/cancel")
        answer = await http.post(CALLS, json={"name": "count"})
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
        answer = await http.post("/sessions/s_0/tool-calls", json={"name": "count"})
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_a_key_makes_a_call_once(opened: Any) -> None:
    counting = Counting()
    key = {"Idempotency-Key": "k-1"}
    async with in_session(opened, counting.broker) as http:
        body = {"name": "count", "args": {"n": 1}}
        first = await http.post(CALLS, json=body, headers=key)
        again = await http.post(CALLS, json={"args": {"n": 1}, "name": "count"}, headers=key)
        assert first.json() == again.json()
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        other = await http.post(CALLS, json={"name": "count"}, headers=key)
        assert (other.status_code, other.json()["code"]) == (409, "CONFLICT")
        assert counting.runs == 1
        await http.post(CALLS, json=body, headers={"Idempotency-Key": "k-2"})
        assert counting.runs == 2
        # A failure of the tool is an answer too: who repeats must not run it again.
        for _ in range(2):
            failed = await http.post(
                CALLS, json={"name": "fail"}, headers={"Idempotency-Key": "k-3"}
            )
            assert failed.json()["error"]["code"] == "TOOL_ERROR"
        assert counting.runs == 3


async def test_two_that_arrive_together_run_the_tool_once(opened: Any) -> None:
    counting = Counting()
    answers: list[Any] = []
    async with in_session(opened, counting.broker) as http:

        async def post() -> None:
            answer = await http.post(CALLS, json={"name": "slow"}, headers={"Idempotency-Key": "k"})
            answers.append(answer.json())

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(post)
            await counting.waiting.wait()
            counting.go.set()
    assert counting.runs == 1
    assert [answer["data"] for answer in answers] == [1] * 5
    assert len({answer["id"] for answer in answers}) == 1


async def test_a_refusal_before_the_tool_ran_is_not_kept(opened: Any) -> None:
    limiter = RateLimiter(per_tool={"count": Rate(max_calls=1, window=0.2)})
    counting = Counting(limiter=limiter)
    key = {"Idempotency-Key": "later"}
    async with in_session(opened, counting.broker) as http:
        await http.post(CALLS, json={"name": "count"})
        while True:
            answer = (await http.post(CALLS, json={"name": "count"}, headers=key)).json()
            if answer["ok"]:
                break
            assert answer["error"]["code"] == "RATE_LIMITED"
        assert answer["data"] == 2


async def test_a_key_is_forgotten_after_its_window(opened: Any) -> None:
    counting = Counting()
    settings = ServerSettings(idempotency_window=0.05)
    async with in_session(opened, counting.broker, settings=settings) as http:
        while counting.runs < 2:
            await http.post(CALLS, json={"name": "count"}, headers={"Idempotency-Key": "k"})


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
async def test_a_key_has_a_form(opened: Any, key: str) -> None:
    async with in_session(opened, Counting().broker) as http:
        answer = await http.post(
            CALLS, json={"name": "count"}, headers={"Idempotency-Key": key.encode("latin-1")}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


PICK = {
    "name": "client:pick",
    "description": "Pick one.",
    "inputSchema": {"type": "object", "properties": {"of": {"type": "integer"}}},
    "timeoutMs": 20_000,
}
RESULT = "/sessions/s_2/tool-result"


async def _next(lines: AsyncIterator[str], kind: str) -> Any:
    async for line in lines:
        event = json.loads(line)
        if event["type"] == kind:
            return event["payload"]
    raise AssertionError(f"no {kind}")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"result": [1, None]}, {"ok": True, "data": [1, None]}),
        ({"result": None}, {"ok": True, "data": None}),
        ({"error": "no"}, {"ok": False, "error": {"code": "TOOL_ERROR", "message": "no"}}),
        (
            {"error": {"message": "no", "code": "MINE"}},
            {"ok": False, "error": {"code": "TOOL_ERROR", "message": "no"}},
        ),
    ],
)
async def test_the_client_answers_a_tool_of_its_own(
    opened: Any, answer: Any, outcome: dict[str, Any]
) -> None:
    found: list[Any] = []
    async with in_session(opened, Broker()) as http:
        made = await http.post("/sessions", json={"sessionId": "s_2", "clientTools": [PICK]})
        assert made.status_code == 201, made.text
        body = {"id": "a", "name": "client:pick", "args": {"of": 3}}

        async def call() -> None:
            found.append((await http.post("/sessions/s_2/tool-calls", json=body)).json())

        async with http.stream("GET", "/sessions/s_2/stream") as stream:
            lines = stream.aiter_lines()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                called = await _next(lines, "tool_call")
                assert called["toolName"] == "client:pick"
                assert called["args"] == {"of": 3}
                given = {"callId": called["callId"], **answer}
                assert (await http.post(RESULT, json=given)).status_code == 200
            second = await http.post(RESULT, json=given)
            assert (second.status_code, second.json()["code"]) == (409, "CONFLICT")
        unknown = await http.post(RESULT, json={"callId": "c_none", "result": 1})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "NOT_FOUND")
    del found[0]["durationMs"]
    assert found[0] == {"id": "a", "name": "client:pick", **outcome}


@pytest.mark.parametrize(
    "body", [{"callId": "c_1"}, {"callId": "c_1", "result": 1, "error": "x"}, {"result": 1}, []]
)
async def test_an_answer_has_a_result_or_an_error(opened: Any, body: Any) -> None:
    async with in_session(opened, Broker()) as http:
        answer = await http.post("/sessions/s_1/tool-result", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "declared",
    [
        {**PICK, "name": "pick"},
        {**PICK, "inputSchema": {"$ref": "https://example.com/"}},
        {**PICK, "inputSchema": {"type": "what"}},
        {**PICK, "timeoutMs": 0},
        {**PICK, "more": 1},
    ],
)
async def test_a_declaration_that_is_not_usable_is_refused(opened: Any, declared: Any) -> None:
    async with in_session(opened, Broker()) as http:
        body = {"sessionId": "s_2", "clientTools": [declared]}
        answer = await http.post("/sessions", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
        assert (await http.get("/sessions/s_2")).status_code == 404
