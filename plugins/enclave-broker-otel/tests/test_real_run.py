"""A real run, exported to a real endpoint: its spans and measurements are what happened."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest
from collector import Collector
from opentelemetry import trace

from enclave_broker_core import (
    AccessController,
    Broker,
    BrokerError,
    Principal,
    RateLimiter,
    ToolContext,
    use,
)

ANN = Principal(id="ann", tenant="acme")


def watched(got: Collector, **more: object) -> Broker:
    rules = [{"pattern": "admin:*", "allow": False}]
    broker = Broker(
        access=AccessController(rules, default="allow"),
        limiter=RateLimiter(per_tool={"scarce": {"max_calls": 1, "window": 60}}),
        runtime="monty",
        sinks=[use("otel", endpoint=got.url, traces="otlp", metrics=["otlp"], **more)],
    )

    @broker.tool("inner")
    async def inner(n: int) -> int:
        return n + 1

    @broker.tool("outer")
    async def outer(ctx: ToolContext) -> int:
        return int(await ctx.call("inner", {"n": 1}))

    @broker.tool("scarce")
    async def scarce() -> str:
        return "had"

    @broker.tool("fails")
    async def fails() -> None:
        raise ValueError("no luck")

    @broker.tool("admin:stop")
    async def stop() -> None: ...

    return broker


CODE = """
a = await call_tool('outer')
b = await call_tool('inner', {'n': a})
b
"""


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_tree_of_spans_is_what_happened(got: Collector, anyio_backend: str) -> None:
    async with watched(got) as broker:
        async with broker.session(principal=ANN) as session:
            first = await session.run(CODE)
            assert first.unwrap() == 3
            second = await session.run("1 / 0")
            assert not second.ok
            await session.call("scarce")
            for name in ("scarce", "admin:stop", "fails", "made:up"):
                with pytest.raises(BrokerError):
                    await session.call(name)
        session_id = session.id
    assert got.tree() == [
        [
            "session",
            ["run", ["execute_tool outer", ["execute_tool inner"]], ["execute_tool inner"]],
            ["run"],
            ["execute_tool scarce"],
            ["execute_tool scarce"],
            ["execute_tool admin:stop"],
            ["execute_tool fails"],
            ["execute_tool"],
        ]
    ]
    assert len({span.trace for span in got.spans}) == 1
    assert all(span.began <= span.ended for span in got.spans)
    (whole,) = got.named("session")
    assert whole.attributes == {
        "session.id": session_id,
        "enclave.principal.id": "ann",
        "enclave.principal.tenant": "acme",
        "enclave.session.state": "completed",
        "enclave.tool_calls": 8,
    }
    runs = sorted(got.named("run"), key=lambda span: span.began)
    assert [(run.attributes["enclave.outcome"], run.status) for run in runs] == [
        ("ok", "unset"),
        ("error", "error"),
    ]
    (outer,) = got.named("execute_tool outer")
    call_id = outer.attributes["gen_ai.tool.call.id"]
    assert outer.attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "outer",
        "gen_ai.tool.type": "extension",
        "gen_ai.tool.call.id": call_id,
        "session.id": session_id,
        "enclave.outcome": "ok",
        "enclave.rule": "default",
    }
    had, refused = sorted(got.named("execute_tool scarce"), key=lambda span: span.began)
    assert (had.status, refused.status) == ("unset", "error")
    assert refused.attributes["error.type"] == "RATE_LIMITED"
    assert refused.attributes["enclave.limit.scope"] == "tool scarce"
    (denied,) = got.named("execute_tool admin:stop")
    assert denied.attributes["enclave.rule"] == "rules[0] admin:*"
    assert denied.attributes["error.type"] == "ACCESS_DENIED"
    (unknown,) = got.named("execute_tool")
    assert unknown.attributes["gen_ai.tool.name"] == "made:up"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_metrics_are_what_happened(got: Collector, anyio_backend: str) -> None:
    async with watched(got) as broker, broker.session(principal=ANN) as session:
        assert (await session.run(CODE)).ok
        for name in ("scarce", "scarce", "admin:stop", "fails", "made:up", "made:up:2"):
            with suppress(BrokerError):
                await session.call(name)
    calls = {
        (point["gen_ai.tool.name"], point["enclave.outcome"], point.get("error.type")): value
        for point, value in got.points["enclave.tool.calls"]
    }
    assert calls == {
        ("inner", "ok", None): 2,
        ("outer", "ok", None): 1,
        ("scarce", "ok", None): 1,
        ("scarce", "refused", "RATE_LIMITED"): 1,
        ("admin:stop", "refused", "ACCESS_DENIED"): 1,
        ("fails", "error", "TOOL_ERROR"): 1,
        ("_unknown", "refused", "UNKNOWN_TOOL"): 2,
    }
    durations = got.points["gen_ai.execute_tool.duration"]
    assert sum(count for _, (count, _) in durations) == 9
    assert all(total > 0 for _, (_, total) in durations)
    denials = got.points["enclave.access.denials"]
    assert denials == [({"enclave.rule": "rules[0] admin:*", "error.type": "ACCESS_DENIED"}, 1)]
    assert got.points["enclave.limiter.refusals"] == [({"enclave.limit.scope": "tool scarce"}, 1)]
    assert got.value("enclave.run.duration", enclave__outcome="ok")[0] == 1
    assert got.points["enclave.sessions.started"] == [({}, 1)]
    ended = got.value("enclave.session.duration", enclave__session__state="completed")
    assert ended[0] == 1
    # The session's first event, then two of each call and two of the run.
    stored = got.value("enclave.store.operation.duration", enclave__store__operation="append")
    assert stored[0] == 1 + 2 * 9 + 1


@pytest.mark.anyio
async def test_where_a_call_is_made_in_another_trace_it_belongs_there(got: Collector) -> None:
    broker = Broker(sinks=[use("otel", endpoint=got.url, traces="otlp", metrics=["none"])])
    seen = []

    @broker.tool("t")
    async def t() -> None:
        seen.append(trace.get_current_span().get_span_context())

    remote = trace.SpanContext(0xABC, 0xDEF, True, trace.TraceFlags(1))
    async with broker, broker.session() as session:
        with trace.use_span(trace.NonRecordingSpan(remote)):
            await session.call("t")
        await session.call("t")
    (whole,) = got.named("session")
    elsewhere, here = sorted(got.named("execute_tool t"), key=lambda span: span.began)
    assert elsewhere.trace == f"{0xABC:032x}"
    assert elsewhere.parent == f"{0xDEF:016x}"
    assert elsewhere.links == (whole.id,)
    assert (here.trace, here.parent, here.links) == (whole.trace, whole.id, ())
    assert [f"{one.span_id:016x}" for one in seen] == [elsewhere.id, here.id]


@pytest.mark.anyio
async def test_calls_at_once_do_not_become_each_others_children(got: Collector) -> None:
    broker = Broker(sinks=[use("otel", endpoint=got.url, traces="otlp", metrics=["none"])])
    together = anyio.Event()

    @broker.tool("meets")
    async def meets(last: bool) -> None:
        if last:
            together.set()
        await together.wait()

    async with broker, broker.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.call, "meets", {"last": False})
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(session.call, "meets", {"last": True})
    assert got.tree() == [["session", ["execute_tool meets"], ["execute_tool meets"]]]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("runtime", "code"),
    [("monty", "await call_tool('look')"), ("quickjs", "await callTool('look', {})")],
)
async def test_workers_are_counted_while_they_work(
    runtime: str, code: str, got: Collector, anyio_backend: str
) -> None:
    broker = Broker(
        runtime=use(runtime, workers=2),
        sinks=[use("otel", endpoint=got.url, traces="none", metrics=["otlp"])],
    )
    looked = []

    @broker.tool("look")
    async def look() -> None:
        looked.append((broker.stats().runtimes, broker.stats().sessions))

    async with broker, broker.session() as session:
        outcome = await session.run(code)
        assert outcome.ok, outcome.error
        after = broker.stats().runtimes
    ((during, sessions),) = looked
    assert list(during.values()) == [{"workers": 2, "busy": 1, "waiting": 0}]
    assert list(after.values()) == [{"workers": 2, "busy": 0, "waiting": 0}]
    assert sessions == {"waiting_for_tool": 1}
    (name,) = during
    shown = {
        point["enclave.worker.state"]: value
        for point, value in got.points["enclave.sandbox.workers"]
        if point["enclave.runtime"] == name
    }
    assert set(shown) == {"busy", "idle"}
    assert sum(shown.values()) == 2
