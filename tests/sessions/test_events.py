"""Events as a strict client reads them: each one, whole logs, replays and followers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
import wire_schema as wire
from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core import (
    AccessController,
    Broker,
    BrokerError,
    Event,
    RateLimiter,
    Session,
    SessionNotFoundError,
    ToolContext,
)

pytestmark = pytest.mark.anyio


async def lines(session: Session, from_seq: int = 1) -> list[bytes]:
    return [event.to_json() async for event in session.events(from_seq)]


def types(log: list[bytes]) -> list[str]:
    return [json.loads(line)["type"] for line in log]


def busy_broker(**options: Any) -> Broker:
    broker = Broker(
        access=AccessController([{"pattern": "admin:*", "allow": False}], default="allow"),
        limiter=RateLimiter(per_tool={"rare": {"max_calls": 1, "window": 60}}),
        **options,
    )

    @broker.tool("all")
    async def all_kinds(ctx: ToolContext, value: Any = None) -> Any:
        await ctx.log("warn", 'odd "text" \u2028 ünï\x00', {"null": None, "n": [1.5, 2**70]})
        await ctx.log("debug", "no data")
        await ctx.progress("connecting")
        await ctx.progress("receiving", bytes_received=0, total_bytes=10)
        await ctx.partial(None)
        return {"at": datetime(2026, 1, 31, tzinfo=UTC), "value": value}

    @broker.tool("stream")
    async def stream(n: int) -> AsyncIterator[dict[str, int]]:
        for number in range(n):
            yield {"n": number}

    @broker.tool("fails")
    async def fails(nan: bool = False) -> float:
        if nan:
            return float("nan")
        raise ValueError('it "failed"\n')

    broker.tool("rare")(lambda: None)
    broker.tool("admin:stop")(lambda: None)
    broker.tool("slow", timeout=0.01)(anyio.sleep_forever)
    return broker


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("all", {"value": {"null": None, "list": [None, True, 1e300, "\x7f"]}}),
    ("stream", {"n": 2}),
    ("fails", {}),
    ("fails", {"nan": True}),
    ("rare", {}),
    ("rare", {}),
    ("admin:stop", {}),
    ("slow", {}),
    ("no such", {}),
    ("all", {"other": 1, "value": float("inf")}),
    ("stream", {"n": "x"}),
    ('"\u2029\ud800', {}),
]


async def make_calls(session: Session) -> None:
    for name, args in CALLS:
        try:
            await session.call(name, args)
        except BrokerError:
            continue


@pytest.mark.parametrize("end", ["complete", "result", "cancel", "expire"])
async def test_everything_that_is_written_is_read_by_a_strict_client(end: str) -> None:
    async with busy_broker() as broker:
        session = await broker.create_session(timeout=0.2 if end == "expire" else 60)
        await make_calls(session)
        if end == "complete":
            await session.complete()
        elif end == "result":
            await session.complete(b'{"n":null}')
        elif end == "cancel":
            await session.cancel('a "reason"\n\ud800')
        log = await lines(session)
    assert wire.log_problems(log) == []
    seen = set(types(log))
    assert seen >= {"session_init", "tool_call", "tool_result_applied", "log", "tool_progress"}
    final = json.loads(log[-1])["payload"]
    assert final["stats"]["toolCallCount"] == len(CALLS)
    assert final["ok"] is (end in ("complete", "result"))
    assert ("result" in final) is (end == "result")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_events_of_code_are_read_by_a_strict_client() -> None:
    async with busy_broker(runtime="monty") as broker:
        session = await broker.create_session(run_timeout=0.3)
        for code in ("print('a')\n1", "1 / 0", "await call_tool('all', {})", "None"):
            await session.run(code)
        await session.run("while True: pass")
        await session.execute("print('end')\n{'x': None}")
        log = await lines(session)
        refused = await broker.execute("raise ValueError('no')")
    assert not refused.ok
    assert wire.log_problems(log) == []
    assert set(types(log)) >= {"stdout", "partial_result", "deadline_exceeded", "final"}
    runs = [json.loads(line)["payload"] for line in log if b'"path":["run"' in line]
    assert [run["path"] for run in runs] == [["run", f"run_{n}"] for n in range(1, 6)]
    assert [run.get("error", {}).get("code") for run in runs] == [
        None,
        "RUNTIME_ERROR",
        None,
        None,
        "DEADLINE_EXCEEDED",
    ]
    assert json.loads(log[-1])["payload"]["result"] == {"x": None}


def test_the_strict_client_is_strict() -> None:
    good = b'{"protocolVersion":2,"sessionId":"s_a","seq":1,"type":"%b","payload":%b}'
    for kind, payload in (
        (b"log", b'{"level":"warning","message":"x"}'),
        (b"log", b'{"level":"warn","message":"x","data":null}'),
        (b"tool_call", b'{"callId":"x_1","toolName":"t","args":{}}'),
        (b"deadline_exceeded", b'{"elapsedMs":1,"budgetMs":0}'),
        (b"partial_result", b'{"path":[],"data":NaN,"hasNext":true}'),
        (b"final", b'{"ok":false}'),
        (b"final", b'{"ok":true,"error":null}'),
        (b"odd", b"{}"),
        (b"session_init", b'{"cancelUrl":"x","expiresAt":"2026-01-31T00:00:00.000+00:00"}'),
    ):
        assert wire.problems(good % (kind, payload)) != []
    assert wire.problems(good % (b"final", b'{"ok":true,"result":null}')) == []
    assert wire.problems((good % (b"stdout", b'{"chunk":"x"}')).replace(b":2,", b':"2",')) != []


async def test_a_replay_from_any_seq_is_the_rest_of_the_log() -> None:
    async with busy_broker() as broker:
        session = await broker.create_session()
        await make_calls(session)
        await session.complete()
        log = await lines(session)
        for seq in range(1, len(log) + 1):
            assert await lines(session, seq) == log[seq - 1 :]
        assert await lines(session, 0) == log
        assert await lines(session, -5) == log
        assert await lines(session, len(log) + 1) == []
        again = await broker.get_session(session.id)
        assert await lines(again, 3) == log[2:]
        for line in log:
            assert Event.from_json(line).to_json() == line


async def test_all_who_follow_get_all_of_it() -> None:
    async with busy_broker() as broker:
        session = await broker.create_session()
        logs: dict[int, list[bytes]] = {}

        async def follow(number: int) -> None:
            logs[number] = await lines(session)

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(follow, number)
            await make_calls(session)
            tasks.start_soon(follow, 3)
            await session.complete()
        assert wire.log_problems(logs[0]) == []
        assert logs[1] == logs[2] == logs[3] == logs[0]


async def test_who_follows_a_session_that_is_destroyed_is_told() -> None:
    async with busy_broker() as broker:
        session = await broker.create_session()
        found: list[str] = []

        async def follow() -> None:
            try:
                async for event in session.events():
                    found.append(event.type)  # noqa: PERF401 - what came before counts
            except SessionNotFoundError:
                found.append("gone")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            while not found:
                await anyio.lowlevel.checkpoint()
            await broker.destroy_session(session.id)
        assert found[0] == "session_init"
        assert found[-1] in ("final", "gone")


async def test_what_is_no_longer_kept_is_told_and_the_rest_follows() -> None:
    store = MemoryStore(MemoryStoreConfig(max_events=4))
    async with busy_broker(store=store) as broker:
        session = await broker.create_session()
        await make_calls(session)
        await session.complete()
        log = [event async for event in session.events()]
        first = log[1].seq
        assert log[0].type == "error"
        assert log[0].seq == first - 1
        assert log[0].payload == {
            "message": f"events 1 to {first - 1} are no longer kept",
            "code": "EVENTS_DROPPED",
            "recoverable": True,
        }
        assert wire.problems(log[0].to_json()) == []
        assert [event.seq for event in log[1:]] == list(range(first, log[-1].seq + 1))
        assert log[-1].type == "final"
        assert [event.seq async for event in session.events(log[-1].seq)] == [log[-1].seq]


async def test_a_session_is_told_of_changes_of_its_own_tools() -> None:
    async with busy_broker() as broker, broker.session(allowed_tools=["new:*"]) as session:
        events = session.events()
        assert (await anext(events)).type == "session_init"
        broker.tool("new:a")(lambda: None)
        added = await anext(events)
        broker.tool("elsewhere")(lambda: None)
        broker.remove_tool("new:a")
        removed = await anext(events)
    assert added.type == removed.type == "catalog_changed"
    assert (added.payload["addedActions"], added.payload["removedActions"]) == (["new:a"], [])
    assert (removed.payload["addedActions"], removed.payload["removedActions"]) == ([], ["new:a"])
    assert int(added.payload["version"]) < int(removed.payload["version"])
    assert wire.problems(added.to_json()) == []
