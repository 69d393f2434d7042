"""What one broker saved and another finds: gone on with, or refused with the reason."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from durable_world import World, require_consistent, taken
from step_runtime import StepRuntime, steps

from enclave_broker_core import (
    Event,
    RunError,
    SessionRecord,
    SessionSettings,
    ToolCall,
)
from enclave_broker_core.contracts import CallNext
from enclave_broker_core.durable_state import CodeState
from enclave_broker_core.errors import RuntimeBusyError
from enclave_broker_core.seals import Seal

pytestmark = pytest.mark.anyio


READ, HELD = ["calls", [["read", {"n": 1}]]], ["calls", [["held", {}]]]


@asynccontextmanager
async def left(
    world: World, code: str, *, last: bool = True, calls: int = 1, **options: Any
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A session whose broker died when so many handlers of its run had begun: its id, and
    all that was saved of it, the last one last."""
    async with world.broker() as (broker, store):
        session = await broker.create_session(durable=True, **options)
        await session.begin(code, last=last)
        while len(world.ran) < calls:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        store.die()
    yield session.id, store.saves


async def ended(world: World, session_id: str, **parts: Any) -> list[Event]:
    """The log, when another broker has taken the session up and it has ended."""
    with anyio.fail_after(10):
        async with world.broker(**parts):
            log = await world.until_final(session_id)
    require_consistent(log, world.ran)
    return log


def error_of(log: list[Event]) -> tuple[str, str]:
    final = log[-1].payload
    return final["error"]["code"], final["error"]["message"]


async def test_a_call_in_doubt_is_named() -> None:
    world = World(StepRuntime)
    async with left(world, steps(HELD)) as (session_id, _):
        log = await ended(world, session_id)
    code, message = error_of(log)
    assert code == "SESSION_LOST"
    assert "c_run_1_0_0 of held" in message
    assert "idempotent" in message


async def test_an_altered_state_is_refused() -> None:
    world = World(StepRuntime)
    async with left(world, steps(READ, HELD), calls=2) as (session_id, saves):
        changed = saves[-1].replace(b'"seconds":', b'"sec0nds":')
        assert changed != saves[-1]
        world.backend.states[session_id] = changed
        log = await ended(world, session_id)
    code, message = error_of(log)
    assert code == "SESSION_LOST"
    assert "or was changed" in message
    assert len(world.ran) == 2


async def test_a_state_of_another_session_is_refused() -> None:
    world = World(StepRuntime)
    async with (
        left(world, steps(HELD)) as (first, saves),
        left(world, steps(HELD), calls=2) as (second, _),
    ):
        world.backend.states[second] = saves[-1]
        log = await ended(world, second)
        await ended(world, first)
    assert error_of(log)[0] == "SESSION_LOST"
    assert "for this session" in error_of(log)[1]


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_an_old_state_is_refused(which: int) -> None:
    world = World(StepRuntime)
    code = steps(READ, READ, READ, HELD)
    async with left(world, code, calls=4) as (session_id, saves):
        world.backend.states[session_id] = saves[which]
        log = await ended(world, session_id)
    assert error_of(log)[0] == "SESSION_LOST"
    assert "the saved state is an old one: the session was further" in error_of(log)[1]
    assert len(world.ran) == 4


async def test_a_state_that_is_gone_is_missed() -> None:
    world = World(StepRuntime)
    async with left(world, steps(READ, HELD), calls=2) as (session_id, _):
        del world.backend.states[session_id]
        log = await ended(world, session_id)
    assert error_of(log)[0] == "SESSION_LOST"
    assert "an old one" in error_of(log)[1]


async def test_a_state_of_an_earlier_run_is_refused() -> None:
    world = World(StepRuntime)
    async with world.broker() as (broker, store):
        session = await broker.create_session(durable=True)
        await session.run(steps(["keep", 1]))
        early = store.saves[-1]
        await session.run(steps(["keep", 2]))
        store.die()
    world.backend.states[session.id] = early
    log = await ended(world, session.id)
    assert "an old one" in error_of(log)[1]


async def test_answers_are_refused_that_are_not_of_this_call() -> None:
    world = World(StepRuntime)
    code = steps(["calls", [["read", {"n": 1}], ["read", {"n": 2}], ["held", {}]]])
    async with left(world, code, calls=3) as (session_id, _):
        answers = world.backend.answers[session_id]
        one, other = sorted(answers)
        answers[one], answers[other] = answers[other], answers[one]
        log = await ended(world, session_id)
    assert error_of(log)[0] == "SESSION_LOST"
    assert f"the saved answer of the call {one}" in error_of(log)[1]


async def test_a_log_that_does_not_reach_back_is_no_ground_to_go_on() -> None:
    world = World(StepRuntime)
    async with left(world, steps(HELD)) as (session_id, _):
        stored = world.backend.memory._sessions[session_id]
        for _ in range(2):
            stored.events.popleft()
        async with world.broker():
            log = await world.until_final(session_id)
    assert len(world.ran) == 1
    assert "does not reach back" in error_of(log)[1]


async def test_a_former_key_still_opens_and_a_foreign_one_does_not() -> None:
    old, new = "o" * 32, "n" * 32
    for settings, code in (
        (SessionSettings(durable_key=new, former_durable_keys=(old,)), None),
        (SessionSettings(durable_key=new), "SESSION_LOST"),
    ):
        world = World(StepRuntime, key=old)
        async with left(world, steps(READ, ["compute"])) as (session_id, _):
            runtime = StepRuntime()
            runtime.computed.set()
            log = await ended(world, session_id, settings=settings, runtime=runtime)
        error = log[-1].payload.get("error")
        assert (None if error is None else error["code"]) == code
        if code is None:
            assert log[-1].payload["result"] == [[2]]
            assert len(world.ran) == 1


async def test_a_broker_that_lacks_something_leaves_the_session_to_others() -> None:
    world = World(StepRuntime)
    async with left(world, steps(READ, ["compute"])) as (session_id, _):
        for parts in ({"settings": SessionSettings()}, {"runtime": None}):
            async with world.broker(**parts):
                await anyio.lowlevel.checkpoint()
                assert (await world.log(session_id))[-1].type != "final"
        runtime = StepRuntime()
        runtime.computed.set()
        log = await ended(world, session_id, runtime=runtime)
    assert log[-1].payload["ok"]


async def test_a_session_whose_time_is_over_ends_as_expired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(StepRuntime)
    get = world.backend.memory.get

    async def get_late(session_id: str) -> SessionRecord | None:
        record = await get(session_id)
        return record and record.model_copy(update={"expires_at": time.time() - 1})

    async with left(world, steps(READ, ["compute"])) as (session_id, _):
        monkeypatch.setattr(world.backend.memory, "get", get_late)
        log = await ended(world, session_id)
    assert error_of(log)[0] == "SESSION_EXPIRED"


async def test_counts_go_on() -> None:
    world = World(StepRuntime)
    code = steps(["print", "abc\n"], READ, ["compute"], READ, READ)
    async with left(world, code, max_tool_calls=2) as (session_id, _):
        runtime = StepRuntime()
        runtime.computed.set()
        log = await ended(world, session_id, runtime=runtime)
    final = log[-1].payload
    assert final["stats"]["toolCallCount"] == 3
    assert [value[0] for value in final["result"][:2]] == [2, 2]
    assert final["result"][2][0].startswith("MAX_TOOL_CALLS")
    printed = sum(len(e.payload["chunk"].encode()) for e in log if e.type == "stdout")
    assert final["stats"]["stdoutBytes"] == printed


async def test_the_time_of_a_run_goes_on() -> None:
    world = World(StepRuntime)
    seal = Seal([world.key.encode()])
    async with left(world, steps(READ, ["compute"]), run_timeout=300) as (session_id, saves):
        state = CodeState.from_bytes(saves[-1], seal, session_id)
        assert 0 < state.seconds < 300
        used = replace(state, seconds=299.99).to_bytes(seal, session_id)
        world.backend.states[session_id] = used
        log = await ended(world, session_id)
    assert error_of(log)[0] == "DEADLINE_EXCEEDED"
    assert [event.type for event in log[-2:]] == ["deadline_exceeded", "final"]
    assert log[-2].payload["elapsedMs"] >= 300_000


async def test_another_run_has_to_wait_for_the_one_that_goes_on() -> None:
    world = World(StepRuntime)
    async with left(world, steps(READ, ["compute"]), last=False) as (session_id, _):
        runtime = StepRuntime()
        with anyio.fail_after(10):
            async with world.broker(runtime=runtime) as (broker, _):
                session = await taken(broker, session_id)
                with pytest.raises(RuntimeBusyError):
                    await session.run(steps(["kept"]))
                runtime.computed.set()
                async for event in session.events():
                    if event.type == "partial_result":
                        break
                assert event.payload == {"path": ["run", "run_1"], "data": [[2]], "hasNext": False}
                assert (await session.begin(steps(["kept"]))) == "run_2"


async def test_a_run_whose_caller_has_gone_is_not_gone_on_with() -> None:
    world = World(StepRuntime)
    async with world.broker() as (broker, store):
        session = await broker.create_session(durable=True)
        await session.run(steps(["keep", 1]))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.run, steps(["keep", 2], HELD))
            while not world.ran:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        store.die()
    async with world.broker() as (broker, _):
        again = await taken(broker, session.id, idle=True)
        # What the runtime keeps of a run that was cancelled is its own choice.
        assert (await again.run(steps(["kept"]))).unwrap()[0][0] == 1
    assert world.ran == [(session.id, "c_run_2_1_0", "held")]


async def test_a_state_that_is_too_large_fails_the_run_and_is_left_out() -> None:
    world = World(StepRuntime)
    settings = SessionSettings(durable_key="k" * 32, max_durable_bytes=1000)
    async with world.broker(settings) as (broker, _):
        session = await broker.create_session(durable=True)
        assert (await session.run(steps(["keep", "small"]))).ok
        outcome = await session.run(steps(["keep", "x" * 2000]))
        assert isinstance(outcome.error, RunError)
        assert "at most 1000 are kept" in outcome.error.message
        outcome = await session.run(steps(["keep", "x" * 2000], READ))
        assert "at most 1000 are kept" in str(outcome.error)
        assert (await session.run(steps(["kept"]))).unwrap() == [["small"]]
    assert world.ran == []


async def test_a_session_that_its_first_error_ends_ends_by_it_elsewhere_too() -> None:
    world = World(StepRuntime)
    async with world.broker() as (broker, store):
        session = await broker.create_session(durable=True, cancel_on_first_error=True)
        # The state, the call, its end; and then the session's.
        store.count(5)
        await session.begin(steps(["calls", [["fail", {}]]]), last=True)
        await store.died.wait()
    assert [event.type for event in await world.log(session.id)][-1] == "tool_result_applied"
    log = await ended(world, session.id)
    assert error_of(log)[0] == "SESSION_CANCELLED"


async def test_a_call_is_not_repeated_by_another_tool_than_it_was_made_to() -> None:
    async def to_held(call: ToolCall, call_next: CallNext) -> Any:
        return await call_next(call.replace(name="held", args={}))

    world = World(StepRuntime)
    async with world.broker(middleware=[to_held]) as (broker, store):
        session = await broker.create_session(durable=True)
        await session.begin(steps(READ), last=True)
        while not world.ran:
            await anyio.lowlevel.checkpoint()
        store.die()
    log = await ended(world, session.id, middleware=[to_held])
    assert len(world.ran) == 1
    assert "it is not known whether held did this call" in log[-1].payload["result"][0][0]
