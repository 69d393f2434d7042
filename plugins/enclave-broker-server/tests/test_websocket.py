"""A session on one WebSocket: what is asked of it, what it tells, and where it begins."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from enclave_broker_server.settings import ServerSettings, StreamSettings
from sockets import Gate, Server, Serving
from wire_schema import log_problems

from enclave_broker_core import use
from enclave_broker_core.models import ClientTool

pytestmark = pytest.mark.anyio


ASK = ClientTool(
    name="client:ask",
    input_schema={"type": "object", "properties": {"n": {"type": "integer"}}},
    output_schema={"type": "string"},
)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def server(gate: Gate, serving: Serving) -> AsyncIterator[Server]:
    broker = gate.broker(runtime=use("monty", workers=1))
    settings = ServerSettings(streams=StreamSettings(heartbeat=1))
    async with broker, serving(broker, settings=settings) as url:
        yield Server(broker, url)


# What a client asks for


@pytest.mark.parametrize("value", [1, None, "é\n", {"a": [None, {}]}, 2**70, 1.5])
async def test_a_call_is_answered_under_the_id_that_the_client_gave_it(
    server: Server, value: Any
) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.call("echo", "mine", value=value)
        assert await socket.answer("mine") == {"type": "tool_result", "id": "mine", "data": value}
    assert [record.outcome for record in await session.history()] == ["ok"]


async def test_a_call_without_arguments_needs_no_args(server: Server, gate: Gate) -> None:
    gate.open.set()
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.send(type="tool_call", id="1", name="wait")
        assert (await socket.answer())["data"] == "waited"


async def test_a_call_that_fails_is_answered_with_its_error(server: Server) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.call("fail", "a")
        failed = await socket.answer("a")
        await socket.call("nothing", "b")
        unknown = await socket.answer("b")
        await socket.call("echo", "c", value=1, other=2)
        wrong = await socket.answer("c")
    assert failed["type"] == unknown["type"] == wrong["type"] == "tool_error"
    assert failed["error"] == {"code": "TOOL_ERROR", "message": "no luck"}
    assert unknown["error"]["code"] == "UNKNOWN_TOOL"
    assert wrong["error"]["code"] == "VALIDATION_ERROR"
    assert wrong["error"]["details"][0]["field"] == "other"


async def test_calls_run_side_by_side(server: Server, gate: Gate) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.call("wait", "slow")
        await gate.begun()
        await socket.call("echo", "quick", value=1)
        assert (await socket.answer("quick"))["data"] == 1
        gate.open.set()
        assert (await socket.answer("slow"))["data"] == "waited"


async def test_a_second_call_of_an_id_is_refused_and_the_first_goes_on(
    server: Server, gate: Gate
) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.call("wait", "same")
        await gate.begun()
        await socket.call("echo", "same", value=1)
        # Not as an answer: it would be taken for that of the call that goes on.
        refused = await socket.event("error")
        assert refused["payload"]["code"] == "CONFLICT"
        assert "'same'" in refused["payload"]["message"]
        gate.open.set()
        assert (await socket.answer("same"))["data"] == "waited"
        await socket.call("echo", "same", value=2)
        assert (await socket.answer("same"))["data"] == 2
    assert len(await session.history()) == 2


async def test_code_runs_again_and_again_on_one_socket(server: Server) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.send(
            type="execute", code="x = await call_tool('echo', {'value': 20})\nprint(x)\nx"
        )
        first = await socket.event("partial_result")
        await socket.send(type="execute", code="x + 1")
        second = await socket.event("partial_result")
    assert first["payload"] == {"path": ["run", "run_1"], "data": 20, "hasNext": False}
    assert second["payload"] == {"path": ["run", "run_2"], "data": 21, "hasNext": False}
    types = [event["type"] for event in socket.events if event["type"] != "heartbeat"]
    assert types[:5] == [
        "session_init",
        "tool_call",
        "tool_result_applied",
        "stdout",
        "partial_result",
    ]


async def test_code_is_refused_while_a_run_is_under_way_which_goes_on(
    server: Server, gate: Gate
) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.send(type="execute", code="await call_tool('wait', {})")
        await gate.begun()
        await socket.send(type="execute", code="1")
        refused = await socket.event("error")
        assert refused["payload"]["code"] == "RUNTIME_BUSY"
        assert refused["payload"]["recoverable"] is True
        gate.open.set()
        done = await socket.event("partial_result")
    assert done["payload"]["data"] == "waited"


async def test_code_that_is_too_long_is_refused(server: Server) -> None:
    session = await server.session(max_code_bytes=10)
    async with server.socket(session.id) as socket:
        await socket.send(type="execute", code="1 + 1 + 1 + 1")
        refused = await socket.event("error")
    assert refused["payload"]["code"] == "PAYLOAD_TOO_LARGE"


async def test_cancel_ends_the_session_and_then_the_socket(server: Server, gate: Gate) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.call("wait", "w")
        await gate.begun()
        await socket.send(type="cancel", reason="enough")
        assert await socket.closed() == 1000
    assert socket.answers == [
        {
            "type": "tool_error",
            "id": "w",
            "error": {"code": "SESSION_CANCELLED", "message": "enough"},
        }
    ]
    final = socket.events[-1]
    assert final["type"] == "final"
    assert final["payload"]["error"] == {"code": "SESSION_CANCELLED", "message": "enough"}


# Tools of the client


async def test_a_tool_of_the_client_is_answered_over_the_socket(server: Server) -> None:
    session = await server.session(client_tools=[ASK])
    async with server.socket(session.id) as socket:
        await socket.send(type="execute", code="await call_tool('client:ask', {'n': 1})")
        asked = (await socket.event("tool_call", toolName="client:ask"))["payload"]
        assert asked["args"] == {"n": 1}
        await socket.send(type="tool_result", id=asked["callId"], data="yes")
        done = await socket.event("partial_result")
        assert done["payload"]["data"] == "yes"
        await socket.send(type="tool_result", id=asked["callId"], data="again")
        second = await socket.answer(asked["callId"])
        assert second["error"]["code"] == "ALREADY_ANSWERED"
        await socket.send(type="tool_result", id="c_none", data="what")
        unknown = await socket.answer("c_none")
        assert unknown["error"]["code"] == "CALL_NOT_FOUND"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "it is off"}, "it is off"),
        ({"error": {"message": "it is off", "code": "X"}}, "it is off"),
        ({"error": None}, "the client's tool failed"),
        ({"error": {}}, "the client's tool failed"),
        ({"data": None}, "does not fit"),
        ({"data": 7}, "does not fit"),
    ],
)
async def test_what_a_client_answers_is_as_hostile_as_any(
    server: Server, answer: dict[str, Any], said: str
) -> None:
    session = await server.session(client_tools=[ASK])
    async with server.socket(session.id) as socket:
        await socket.call("client:ask", "q", n=1)
        asked = (await socket.event("tool_call"))["payload"]
        await socket.send(type="tool_result", id=asked["callId"], **answer)
        failed = await socket.answer("q")
    assert failed["error"]["code"] == "TOOL_ERROR"
    assert said in failed["error"]["message"]


# What it tells


async def test_events_are_the_very_lines_of_the_stream(server: Server) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.call("echo", value="é 'x' 1.0")
        await socket.answer()
        await socket.send(type="execute", code="print(1)\n{'a': None}")
        await socket.event("partial_result")
        await session.complete()
        assert await socket.closed() == 1000
    assert socket.logged() == await server.lines(session.id)
    assert log_problems(socket.logged()) == []


async def test_heartbeats_come_with_the_seq_of_the_last_event(server: Server) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        assert (await socket.event("heartbeat"))["seq"] == 1
        await socket.call("echo", value=1)
        await socket.event("tool_result_applied")
        assert (await socket.event("heartbeat"))["seq"] == 3


@pytest.mark.parametrize("query", ["?from=3", "?fromSeq=3", "?from=3&filter="])
async def test_a_socket_begins_where_it_is_asked_to(server: Server, query: str) -> None:
    session = await server.session()
    for n in range(3):
        await session.call("echo", {"value": n})
    if query.endswith("="):
        rules = {"mode": "include", "rules": [{"types": {"types": ["tool_result_applied"]}}]}
        query += quote(json.dumps(rules))
    async with server.socket(session.id, query) as socket:
        await session.complete()
        assert await socket.closed() == 1000
    assert socket.logged() == await server.lines(session.id, query)
    seqs = [event["seq"] for event in socket.events]
    assert seqs == ([3, 5, 7, 8] if "filter" in query else [3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize(("query", "seqs"), [("", [1, 2]), ("?from=2", [2]), ("?from=99", [2])])
async def test_of_an_ended_session_there_is_always_the_final_event(
    server: Server, query: str, seqs: list[int]
) -> None:
    session = await server.session()
    await session.complete()
    async with server.socket(session.id, query) as socket:
        assert await socket.closed() == 1000
    assert [event["seq"] for event in socket.events] == seqs
    assert socket.events[-1]["type"] == "final"


async def test_a_deleted_session_ends_with_a_final_event(server: Server) -> None:
    session = await server.session()
    async with server.socket(session.id) as socket:
        await socket.next()
        await server.broker.destroy_session(session.id)
        assert await socket.closed() == 1000
    assert [event["type"] for event in socket.events].count("final") == 1


# Not alone


async def test_two_sockets_see_all_events_and_each_its_own_answers(
    server: Server, gate: Gate
) -> None:
    session = await server.session()
    async with server.socket(session.id) as one, server.socket(session.id) as other:
        await one.call("wait", "same")
        await gate.begun()
        await other.call("echo", "same", value=2)
        assert (await other.answer("same"))["data"] == 2
        gate.open.set()
        assert (await one.answer("same"))["data"] == "waited"
        await other.send(type="cancel")
        assert await one.closed() == 1000
        assert await other.closed() == 1000
    assert len(one.answers) == len(other.answers) == 1
    assert one.logged() == other.logged() == await server.lines(session.id)


async def test_http_and_a_socket_share_a_session(server: Server) -> None:
    created = await server.post(
        "/sessions",
        {"clientTools": [{"name": "client:ask", "inputSchema": {"type": "object"}}]},
    )
    session_id = created.json()["sessionId"]
    async with server.socket(session_id) as socket:
        called = await server.post(
            f"/sessions/{session_id}/tool-calls", {"name": "echo", "args": {"value": 1}}
        )
        applied = await socket.event("tool_result_applied")
        assert applied["payload"]["callId"] == called.json()["id"]

        # Asked over one, answered over the other.
        await socket.call("client:ask", "q")
        asked = (await socket.event("tool_call"))["payload"]["callId"]
        taken = await server.post(
            f"/sessions/{session_id}/tool-result", {"callId": asked, "result": 5}
        )
        assert taken.status_code == 200
        assert (await socket.answer("q"))["data"] == 5

        await server.post(f"/sessions/{session_id}/cancel", {"reason": "over HTTP"})
        assert await socket.closed() == 1000
    assert socket.logged() == await server.lines(session_id)
