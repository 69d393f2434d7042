"""The stock-like JavaScript client against the server: it drops no line, whatever happens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest
from cut_proxy import Cut, proxy_to
from enclave_broker_server.app import create_app
from starlette.applications import Starlette
from starlette.routing import Mount
from stock_node import MISSING, NODE, Report, stock_client

from enclave_broker_core import Broker, SessionLimits, SessionSettings, ToolContext, use

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(NODE is None, reason=MISSING)]

CODE = """
print("ü☃", None)
found = await call_tool("users:get", {"id": 1})
try:
    await call_tool("users:fail", {})
except ToolError as error:
    print(error)
await call_tool("users:slow", {})
found
"""
TYPES = [
    "session_init",
    "stdout",
    "tool_call",
    "tool_result_applied",
    "tool_call",
    "tool_result_applied",
    "stdout",
    "tool_call",
    "log",
    "tool_progress",
    "tool_result_applied",
    "final",
]
CUT = ("--reconnect-delay", "5")

Serving = Callable[..., Any]
Run = Callable[..., Coroutine[Any, Any, Report]]


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    limits = SessionLimits(max_code_bytes=1000)
    broker = Broker(runtime=use("monty", workers=1), limits=limits)

    @broker.tool("users:get")
    async def get(id: int) -> dict[str, Any]:
        return {"id": id, "name": None, "tags": ["é", 1.5]}

    @broker.tool("users:fail")
    async def fail() -> None:
        raise ValueError("no such user")

    @broker.tool("users:slow")
    async def slow(context: ToolContext) -> None:
        await context.log("warn", "it takes a while", {"left": None})
        await context.progress("receiving", bytes_received=1, total_bytes=2)

    @broker.tool("users:wait")
    async def wait() -> None:
        await anyio.sleep_forever()

    @broker.tool("users:cancel")
    async def cancel(context: ToolContext) -> None:
        session = await broker.get_session(context.session.id)
        await session.cancel("by another")

    async with broker:
        yield broker


@pytest.fixture
def run(tmp_path: Path) -> Run:
    async def start(url: str, code: str, *options: str) -> Report:
        path = tmp_path / "code.py"
        path.write_text(code)
        report = await stock_client(url, path, *options)
        assert report.dropped == []
        return report

    return start


@pytest.fixture
async def url(broker: Broker, serving: Serving) -> AsyncIterator[str]:
    async with serving(broker) as url:
        yield url


async def log_of(broker: Broker, session_id: str) -> list[dict[str, Any]]:
    session = await broker.get_session(session_id)
    with anyio.fail_after(20):
        return [json.loads(event.to_json()) async for event in session.events()]


async def test_it_sees_every_event(broker: Broker, url: str, run: Run) -> None:
    report = await run(url, CODE)
    assert report.types == TYPES
    assert report.seqs == list(range(1, len(TYPES) + 1))
    value = {"id": 1, "name": None, "tags": ["é", 1.5]}
    assert report.outcome == {"success": True, "value": value}
    assert report.tool_calls == 3
    assert report.events == await log_of(broker, report.session_id)
    (asked,) = report.requests
    assert (asked["status"], asked["type"]) == (200, "application/x-ndjson")
    assert asked["session"] == report.session_id
    assert asked["refused"] is None


@pytest.mark.parametrize("code", ["1 +", "await call_tool('nope', {})"])
async def test_code_that_fails(code: str, url: str, run: Run) -> None:
    report = await run(url, code)
    assert report.outcome["error"]["code"] == "RUNTIME_ERROR"
    assert report.types[-1] == "final"
    assert len(report.requests) == 1


async def test_its_config_is_kept(url: str, run: Run) -> None:
    report = await run(url, "while True:\n    pass", "--config", '{"maxExecutionMs": 100}')
    assert report.outcome["error"]["code"] == "DEADLINE_EXCEEDED"
    code = "for n in range(2):\n    await call_tool('users:get', {'id': n})"
    report = await run(url, code, "--config", '{"maxToolCalls": 1}')
    applied = [event for event in report.events if event["type"] == "tool_result_applied"]
    assert [event["payload"].get("code") for event in applied] == [None, "MAX_TOOL_CALLS"]


async def test_its_heartbeats_are_heartbeats(url: str, run: Run) -> None:
    options = ("--config", '{"heartbeatIntervalMs": 1}', "--cancel-after-event", "heartbeat")
    report = await run(url, "await call_tool('users:wait', {})", *options)
    assert report.types == ["session_init", "tool_call", "heartbeat"]
    assert report.events[-1]["seq"] == 2


async def test_it_cancels(broker: Broker, url: str, run: Run) -> None:
    options = ("--cancel-after-event", "tool_call", "--reason", "enough")
    report = await run(url, "await call_tool('users:wait', {})", *options)
    assert report.outcome["error"] == {"code": "CANCELLED", "message": "enough"}
    assert report.asked == ["POST /sessions", "POST /sessions/ID/cancel"]
    assert report.requests[1]["status"] == 200
    session = await broker.get_session(report.session_id)
    assert session.info().state.value == "cancelled"
    *_, applied, final = await log_of(broker, report.session_id)
    assert applied["type"] == "tool_result_applied"
    assert final["payload"]["error"] == {"code": "SESSION_CANCELLED", "message": "enough"}


async def test_it_hears_that_another_has_cancelled(url: str, run: Run) -> None:
    report = await run(url, "await call_tool('users:cancel', {})")
    assert report.types[-1] == "final"
    assert report.outcome["error"] == {"code": "SESSION_CANCELLED", "message": "by another"}
    assert len(report.requests) == 1


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 1.0])
async def test_a_connection_that_breaks_at_every_event(
    part: float, broker: Broker, url: str, run: Run
) -> None:
    async with proxy_to(url) as proxy:
        proxy.plan.extend([Cut(0, part), *[Cut(1, part)] * (len(TYPES) - 1)])
        report = await run(proxy.url, CODE, *CUT)
        assert not proxy.plan
    assert report.types == TYPES
    assert report.seqs == list(range(1, len(TYPES) + 1))
    assert report.events == await log_of(broker, report.session_id)
    assert report.tool_calls == 3
    assert report.asked == [
        "POST /sessions",
        "GET /sessions/ID/stream?",
        *(f"GET /sessions/ID/stream?from={seq}" for seq in range(2, len(TYPES) + 1)),
    ]


@pytest.mark.parametrize("events", [2, 5, len(TYPES) - 1])
async def test_what_was_cut_once_is_whole(events: int, broker: Broker, url: str, run: Run) -> None:
    async with proxy_to(url) as proxy:
        proxy.plan.append(Cut(events, 0.3))
        report = await run(proxy.url, CODE, *CUT)
    assert report.asked == ["POST /sessions", f"GET /sessions/ID/stream?from={events + 1}"]
    assert report.events == await log_of(broker, report.session_id)
    assert report.outcome["success"] is True


async def test_a_filter_holds_over_a_reconnect(broker: Broker, url: str, run: Run) -> None:
    pattern = {"type": "glob", "pattern": "users:{get,slow}", "field": "payload.toolName"}
    wanted = {"mode": "include", "rules": [{"content": {"patterns": [pattern]}}]}
    async with proxy_to(url) as proxy:
        proxy.plan.append(Cut(2))
        report = await run(proxy.url, CODE, *CUT, "--filter", json.dumps(wanted))
    assert report.types == ["session_init", "tool_call", "tool_call", "final"]
    log = await log_of(broker, report.session_id)
    assert report.events == [log[seq - 1] for seq in report.seqs]
    assert len(report.requests) == 2


async def test_refusals_come_as_final(broker: Broker, url: str, run: Run) -> None:
    await broker.create_session(session_id="s_taken")
    refused = [
        (("--session", "s_taken"), "1", "409", "SESSION_EXISTS"),
        (("--config", '{"maxToolCalls": -1}'), "1", "400", "INVALID_REQUEST"),
        (("--filter", '{"mode": "all"}'), "1", "400", "INVALID_FILTER"),
        ((), "#" * 1001, "413", "PAYLOAD_TOO_LARGE"),
    ]
    for options, code, status, said in refused:
        report = await run(url, code, *options)
        assert report.types == ["final"]
        assert report.seqs == [1]
        assert report.outcome["error"]["code"] == said
        (asked,) = report.requests
        assert (asked["status"], asked["refused"]) == (200, status)
    assert (await broker.get_session("s_taken")).info().state.value == "running"


async def test_no_session_is_free(serving: Serving, run: Run) -> None:
    settings = SessionSettings(max_concurrent=1)
    broker = Broker(runtime=use("monty", workers=1), sessions=settings)
    async with broker, serving(broker) as url:
        await broker.create_session()
        report = await run(url, "1")
    assert report.types == ["final"]
    assert report.outcome["error"]["code"] == "TOO_MANY_SESSIONS"
    assert report.outcome["errors"][0]["details"] != []
    assert report.requests[0]["refused"] == "429"


async def test_it_works_below_a_path(broker: Broker, serving_app: Serving, run: Run) -> None:
    outer = Starlette(routes=[Mount("/tools/broker", create_app(broker))])
    async with serving_app(outer) as url:
        report = await run(f"{url}/tools/broker/", CODE)
        assert report.types == TYPES
        replay = f"/tools/broker/sessions/{report.session_id}/stream"
        assert report.events[0]["payload"]["replayUrl"] == replay
