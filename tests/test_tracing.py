"""A tracer is told of beginnings and ends at once, in the task that does the thing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from durable_world import World
from step_runtime import StepRuntime

from enclave_broker_core import (
    AccessController,
    Broker,
    BrokerError,
    BrokerStats,
    ConfigError,
    Principal,
    RunOutcome,
    ToolCall,
    ToolContext,
)
from enclave_broker_core.composition import Parts
from enclave_broker_core.contracts import Component, OpenContext
from enclave_broker_core.models import SessionRecord, ToolSpec
from enclave_broker_core.redaction import Redactor
from enclave_broker_core.tracing import CallEnd, Tracer

pytestmark = pytest.mark.anyio


class Told:
    """A tracer that writes down what it is told, and where a call was made."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.current: ContextVar[str] = ContextVar("current", default="nothing")
        self.stats: Callable[[], BrokerStats] | None = None
        self.stored_: list[str] = []

    def attach(self, stats: Callable[[], BrokerStats]) -> None:
        self.stats = stats

    def session_began(self, record: SessionRecord) -> None:
        self.log.append(("session", record.principal_id))

    def session_ended(self, record: SessionRecord, code: str | None) -> None:
        self.log.append(("session ended", record.state.value, code))

    def run(self, session_id: str, run_id: str) -> Any:
        self.log.append(("run", run_id))
        return Run(self, run_id)

    def call(
        self, call: ToolCall, spec: ToolSpec | None, redactor: Redactor
    ) -> Callable[[CallEnd], None]:
        known = None if spec is None else spec.name
        shown = redactor.json(call.arguments_json)
        self.log.append(("call", redactor.text(call.name), known, self.current.get(), shown))
        token = self.current.set(f"call {call.name}")

        def ended(end: CallEnd) -> None:
            self.current.reset(token)
            rule = None if end.decision is None else end.decision.rule
            self.log.append(("ended", call.name, end.outcome, end.code, end.result, rule))

        return ended

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Any:
        raise NotImplementedError

    def headers(self) -> list[tuple[str, str]]:
        return [("x-current", self.current.get())]

    def stored(self, operation: str, seconds: float) -> None:
        assert seconds >= 0
        self.stored_.append(operation)

    def named(self, *kinds: str) -> list[Any]:
        return [one for one in self.log if one[0] in kinds]


class Run:
    def __init__(self, told: Told, run_id: str) -> None:
        self.told = told
        self.run_id = run_id

    @contextmanager
    def within(self) -> Iterator[None]:
        token = self.told.current.set(self.run_id)
        yield
        self.told.current.reset(token)

    def end(self, outcome: RunOutcome | None) -> None:
        self.told.log.append(("run ended", None if outcome is None else outcome.ok))


def watched(tracer: Any, **parts: Any) -> Broker:
    rules = [{"pattern": "admin:*", "allow": False}]
    access = AccessController(rules, default="allow")
    broker = Broker(access=access, sinks=[tracer], **parts)
    broker.tool("t")(lambda: "t")
    broker.tool("admin:stop")(lambda: None)

    @broker.tool("waits")
    async def waits() -> None:
        await anyio.sleep_forever()

    return broker


def test_it_meets_the_contract() -> None:
    assert isinstance(Told(), Tracer)


async def test_every_call_has_a_beginning_and_an_end_refused_ones_too() -> None:
    told = Told()
    async with watched(told) as broker, broker.session(principal=Principal(id="ann")) as session:
        assert await session.call("t") == "t"
        for name in ("admin:stop", "unknown"):
            with pytest.raises(BrokerError):
                await session.call(name)
        with anyio.move_on_after(0.01):
            await session.call("waits")
    assert told.named("ended") == [
        ("ended", "t", "ok", None, "t", "default"),
        ("ended", "admin:stop", "refused", "ACCESS_DENIED", None, "rules[0] admin:*"),
        ("ended", "unknown", "refused", "UNKNOWN_TOOL", None, None),
        ("ended", "waits", "cancelled", "CANCELLED", None, "default"),
    ]
    calls = [(name, known, current) for _, name, known, current, _ in told.named("call")]
    assert calls == [
        ("t", "t", "nothing"),
        ("admin:stop", "admin:stop", "nothing"),
        ("unknown", None, "nothing"),
        ("waits", "waits", "nothing"),
    ]
    assert told.log[0] == ("session", "ann")
    assert told.log[-1] == ("session ended", "completed", None)


async def test_the_calls_of_code_and_of_handlers_are_within_their_run_and_call() -> None:
    told = Told()
    async with watched(told, runtime=StepRuntime()) as broker:

        @broker.tool("outer")
        async def outer(ctx: ToolContext) -> Any:
            return await ctx.call("t")

        async with broker.session() as session:
            ran = await session.run(json.dumps([["calls", [["t", {}]]]]))
            assert ran.ok, ran.error
            await session.call("outer")
            failed = await session.run(json.dumps([["raise", "no"]]))
            assert not failed.ok
    called = [(one[1], one[3]) for one in told.named("call")]
    assert called == [("t", "run_1"), ("outer", "nothing"), ("t", "call outer")]
    assert told.named("run", "run ended") == [
        ("run", "run_1"),
        ("run ended", True),
        ("run", "run_2"),
        ("run ended", False),
    ]


async def test_a_durable_run_is_followed_too() -> None:
    told = Told()
    async with (
        World(StepRuntime).broker(sinks=[told]) as (broker, _),
        broker.session(durable=True) as session,
    ):
        assert (await session.run(json.dumps([["calls", [["read", {"n": 1}]]]]))).ok
    assert [(one[1], one[3]) for one in told.named("call")] == [("read", "run_1")]
    assert told.named("run", "run ended") == [("run", "run_1"), ("run ended", True)]


async def test_what_is_asked_of_the_store_is_timed() -> None:
    told = Told()
    async with watched(told) as broker, broker.session() as session:
        await session.call("t")
    assert told.stored_ == ["append", "append", "append"]  # the session's first, the call's two


async def test_what_it_sees_is_without_secrets() -> None:
    told = Told()
    async with watched(told) as broker, broker.session() as session:
        broker.conceal("a-long-secret")
        with pytest.raises(BrokerError):
            await session.call("a-long-secret", {"x": "a-long-secret"})
    (call,) = told.named("call")
    assert call[1] == "[secret]"
    assert call[4] == b'{"x":"[secret]"}'


async def test_a_tracer_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Told):
        def attach(self, *given: Any) -> None:
            raise ValueError("broken")

        session_began = session_ended = run = call = stored = headers = attach  # type: ignore

    async with (
        watched(Broken(), runtime=StepRuntime()) as broker,
        broker.session() as session,
    ):
        assert await session.call("t") == "t"
        assert (await session.run(json.dumps([["calls", [["t", {}]]]]))).ok
        assert broker.tracer is not None
        assert broker.tracer.headers() == ()
    assert "the tracer failed" in caplog.text


async def test_two_tracers_are_refused() -> None:
    broker = Broker(sinks=[Told(), Told()])
    with pytest.raises(ConfigError, match="Told and Told"):
        async with broker:
            pass


async def test_a_sink_that_has_nothing_to_do_is_not_in_the_chain() -> None:
    async with Broker(sinks=[None]) as broker:
        assert broker.tracer is None
        assert not broker._opened.sinks.active
        assert broker._opened.chain.__qualname__ == "Record.stage.<locals>.run"


async def test_a_provider_is_told_which_headers_its_requests_carry() -> None:
    told, contexts = Told(), []

    class Empty:
        async def tools(self) -> list[Any]:
            return []

        async def watch(self, publish: Any) -> None:
            return

    @asynccontextmanager
    async def opened(config: Any, context: OpenContext) -> AsyncIterator[Any]:
        contexts.append(context)
        yield Empty()

    async with Broker(sinks=[told], providers={"p": Component("p", opened)}) as broker:

        @broker.tool("asks")
        async def asks() -> list[Any]:
            return list(contexts[0].trace_headers())

        async with broker.session() as session:
            assert await session.call("asks") == [["x-current", "call asks"]]
    async with Broker(providers={"p": Component("p", opened)}):
        assert contexts[1].trace_headers() == ()


async def test_the_next_tracer_is_told_of_the_sessions_that_there_are() -> None:
    first, second = Told(), Told()
    async with watched(first) as broker, broker.session(principal=Principal(id="ann")):

        async def make(stack: AsyncExitStack) -> Parts:
            return Parts(sinks=[second])

        await broker.reload(make)
        assert second.log == [("session", "ann")]
        assert broker.tracer is not None
        assert broker.tracer.tracer is second
    assert second.named("session ended") == [("session ended", "completed", None)]
    assert first.named("session ended") == []


async def test_it_can_ask_how_the_broker_is() -> None:
    told = Told()
    async with watched(told, runtime={"steps": Counts()}) as broker:
        assert told.stats is not None
        async with broker.session(), broker.session():
            assert told.stats().sessions == {"running": 2}
        stats = told.stats()
        assert stats.sessions == {}
        assert stats.queues == {"observations": 0, "unsettled_ends": 0}
        assert stats.runtimes == {"steps": {"workers": 4, "busy": 1, "waiting": 0}}
    assert told.stats().queues == {"observations": 0, "unsettled_ends": 0}


class Counts(StepRuntime):
    def counts(self) -> Mapping[str, int]:
        return {"workers": 4, "busy": 1, "waiting": 0}
