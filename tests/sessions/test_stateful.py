"""The life of sessions, in any order of operations, against a slow obvious model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from enclave_broker_memory.store import MemoryStore
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from enclave_broker_core import (
    Broker,
    BrokerError,
    Session,
    SessionExpiredError,
    SessionNotFoundError,
)

QUICK = {
    "ok": (("t", {"n": 1}), "ok", None),
    "fails": (("fails", {}), "error", "TOOL_ERROR"),
    "wrong": (("t", {"n": "x"}), "refused", "VALIDATION_ERROR"),
    "unknown": (("nothing", {}), "refused", "UNKNOWN_TOOL"),
}
ENDS = {
    "complete": ("completed", None, "SESSION_ENDED"),
    "cancel": ("cancelled", "SESSION_CANCELLED", "SESSION_CANCELLED"),
    "expire": ("failed", "SESSION_EXPIRED", "SESSION_EXPIRED"),
}


@dataclass
class Model:
    """What is expected of one session: lists, and nothing clever."""

    most_calls: int | None
    strict: bool
    ended: str | None = None
    over: str | None = None
    attempts: int = 0
    waiting: int = 0
    destroyed: bool = False
    events: list[tuple[str, str | None]] = field(default_factory=lambda: [("session_init", None)])
    history: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def state(self) -> str:
        return self.ended or ("waiting_for_tool" if self.waiting else "running")

    def call(self, tool: str, outcome: str, code: str | None) -> str | None:
        """A call from its beginning to its end; the code of what it raises."""
        if self.over is not None:
            return self.over
        self.attempts += 1
        self.events.append(("tool_call", None))
        if self.most_calls is not None and self.attempts > self.most_calls:
            outcome, code = "refused", "MAX_TOOL_CALLS"
        self.finish(tool, outcome, code)
        return code

    def begin(self) -> bool:
        """Whether a call that waits is now under way."""
        if self.over is not None or self.attempts == self.most_calls:
            return False
        if self.most_calls is not None and self.attempts > self.most_calls:
            return False
        self.attempts += 1
        self.waiting += 1
        self.events.append(("tool_call", None))
        return True

    def finish(self, tool: str, outcome: str, code: str | None) -> None:
        self.events.append(("tool_result_applied", code))
        self.history.append((tool, outcome, code))
        if code is not None and self.strict:
            self.end("cancel")

    def end(self, how: str) -> None:
        if self.over is not None:
            return
        self.ended, final, self.over = ENDS[how]
        for _ in range(self.waiting):
            self.events.append(("tool_result_applied", self.over))
            self.history.append(("wait", "cancelled", self.over))
        self.waiting = 0
        self.events.append(("final", final))


class Real:
    """A broker, its sessions, and the calls that wait in them."""

    def __init__(self, broker: Broker, store: MemoryStore, tasks: TaskGroup) -> None:
        self.broker = broker
        self.store = store
        self.tasks = tasks
        self.sessions: list[Session] = []
        self.models: list[Model] = []
        self.gates: dict[int, list[tuple[anyio.Event, anyio.Event]]] = {}
        self.raised: dict[int, list[str]] = {}
        self._next: tuple[anyio.Event, anyio.Event] | None = None
        broker.tool("t")(self._quick)
        broker.tool("fails")(self._fails)
        broker.tool("wait")(self._wait)

    async def _quick(self, n: int) -> int:
        return n

    async def _fails(self) -> None:
        raise ValueError("it failed")

    async def _wait(self) -> None:
        assert self._next is not None
        began, go_on = self._next
        began.set()
        await go_on.wait()

    async def create(self, most_calls: int | None, strict: bool) -> None:
        session = await self.broker.create_session(
            max_tool_calls=most_calls, cancel_on_first_error=strict
        )
        self.gates[len(self.sessions)] = []
        self.raised[len(self.sessions)] = []
        self.sessions.append(session)
        self.models.append(Model(most_calls, strict))

    async def call(self, number: int, kind: str) -> None:
        (name, args), outcome, code = QUICK[kind]
        session, model = self.sessions[number], self.models[number]
        expected = model.call(name, outcome, code)
        found = None
        try:
            assert await session.call(name, args) == 1
        except BrokerError as error:
            found = error.code
        assert found == expected
        if model.over is not None:
            await session.ended.wait()

    async def begin(self, number: int) -> None:
        if not self.models[number].begin():
            return
        gate = self._next = anyio.Event(), anyio.Event()
        finished = anyio.Event()

        async def wait() -> None:
            try:
                await self.sessions[number].call("wait")
            except BrokerError as error:
                self.raised[number].append(error.code)
            finished.set()

        self.tasks.start_soon(wait)
        await gate[0].wait()
        self.gates[number].append((gate[1], finished))

    async def release(self, number: int) -> None:
        if not self.models[number].waiting:
            return
        go_on, finished = self.gates[number].pop(0)
        self.models[number].waiting -= 1
        self.models[number].finish("wait", "ok", None)
        go_on.set()
        await finished.wait()

    async def end(self, number: int, how: str) -> None:
        session = self.sessions[number]
        self.models[number].end(how)
        if how == "complete":
            await session.complete()
        elif how == "cancel":
            await session.cancel("enough")
        else:
            await session.end(SessionExpiredError("over"))

    async def destroy(self, number: int) -> None:
        model = self.models[number]
        found = await self.broker.destroy_session(self.sessions[number].id)
        assert found is not model.destroyed
        model.end("cancel")
        model.destroyed = True

    async def check(self) -> None:
        for number, (session, model) in enumerate(zip(self.sessions, self.models, strict=True)):
            assert set(self.raised[number]) <= {model.over}
            assert session.state.value == model.state
            assert session.info().tool_calls == model.attempts
            assert session.busy is (model.waiting > 0)
            if model.destroyed:
                with pytest.raises(SessionNotFoundError):
                    await self.broker.get_session(session.id)
                continue
            events = await self.store.read(session.id)
            assert [event.seq for event in events] == list(range(1, len(model.events) + 1))
            assert [(event.type, _code(event.payload)) for event in events] == model.events
            history = [(c.tool, c.outcome, c.error_code) for c in await session.history()]
            assert history == model.history
            record = await self.store.get(session.id)
            assert record is not None
            assert record.tool_calls == len(model.history)
            assert record.state.ended is (model.ended is not None)
        living = [s.id for s, m in zip(self.sessions, self.models, strict=True) if not m.ended]
        assert [record.id for record in await self.broker.list_sessions()] == living
        assert self.broker.stats().open_sessions == len(living)


def _code(payload: dict[str, Any]) -> str | None:
    code: str | None = payload.get("error", payload).get("code")
    return code


Step = tuple[str, tuple[Any, ...]]


async def play(steps: list[Step]) -> None:
    """All steps on a new broker, with everything compared after each."""
    store = MemoryStore()
    async with anyio.create_task_group() as tasks, Broker(store=store) as broker:
        real = Real(broker, store, tasks)
        for name, args in steps:
            await getattr(real, name)(*args)
            await real.check()


class Lives(RuleBasedStateMachine):
    """Collects operations on up to three sessions; what they do is seen at the end."""

    backend = "asyncio"

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.count = 0

    def _add(self, name: str, number: int, *args: Any) -> None:
        if self.count:
            self.steps.append((name, (number % self.count, *args)))

    @rule(most_calls=st.none() | st.integers(1, 4), strict=st.booleans())
    def create(self, most_calls: int | None, strict: bool) -> None:
        if self.count < 3:
            self.count += 1
            self.steps.append(("create", (most_calls, strict)))

    @rule(number=st.integers(0, 2), kind=st.sampled_from(sorted(QUICK)))
    def call(self, number: int, kind: str) -> None:
        self._add("call", number, kind)

    @rule(number=st.integers(0, 2))
    def begin(self, number: int) -> None:
        self._add("begin", number)

    @rule(number=st.integers(0, 2))
    def release(self, number: int) -> None:
        self._add("release", number)

    @rule(number=st.integers(0, 2), how=st.sampled_from(sorted(ENDS)))
    def end(self, number: int, how: str) -> None:
        self._add("end", number, how)

    @rule(number=st.integers(0, 2))
    def destroy(self, number: int) -> None:
        self._add("destroy", number)

    @invariant()
    def sessions_are_few(self) -> None:
        assert self.count <= 3

    def teardown(self) -> None:
        anyio.run(play, self.steps, backend=self.backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_any_order_of_operations(backend: str) -> None:
    class Machine(Lives):
        pass

    Machine.backend = backend
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_error_ends_a_strict_session_and_the_calls_that_wait_in_it(backend: str) -> None:
    steps: list[Step] = [
        ("create", (None, True)),
        ("begin", (0,)),
        ("begin", (0,)),
        ("call", (0, "ok")),
        ("release", (0,)),
        ("call", (0, "fails")),
        ("call", (0, "ok")),
        ("destroy", (0,)),
    ]
    anyio.run(play, steps, backend=backend)
