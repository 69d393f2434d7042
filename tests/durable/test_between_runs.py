"""Durable sessions that live on between runs, and brokers that close in good order."""

from __future__ import annotations

import anyio
import pytest
from durable_world import World, died_or_ended, in_doubt, require_consistent, taken
from hypothesis import given, settings
from hypothesis import strategies as st
from step_runtime import StepRuntime, steps

from enclave_broker_core import ArgumentsError, Broker, Session, SessionSettings
from enclave_broker_core.errors import SessionLostError

pytestmark = pytest.mark.anyio

KEY = "k" * 32


READ = ["calls", [["read", {"n": 1}]]]
TWO_RUNS = [steps(["keep", 1], READ, ["print", "one\n"]), steps(["keep", 2], READ, ["kept"])]


async def run_all(session: Session, runs: list[str]) -> None:
    for run in runs:
        await session.run(run)


async def run_until_lost(session: Session, runs: list[str]) -> None:
    try:
        await run_all(session, runs)
    except SessionLostError:
        return


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_session_goes_on_between_runs_wherever_its_broker_died(after: bool) -> None:
    async with World(StepRuntime).broker() as (broker, store):
        session = await broker.create_session(durable=True)
        store.count()
        await run_all(session, TWO_RUNS)
        writes = store.writes or 0
    for moment in range(1, writes + 1):
        world = World(StepRuntime)
        with anyio.fail_after(20):
            async with world.broker() as (broker, store), anyio.create_task_group() as tasks:
                session = await broker.create_session(durable=True)
                store.count(moment, after=after)
                tasks.start_soon(run_until_lost, session, TWO_RUNS)
                await store.died.wait()
                tasks.cancel_scope.cancel()
            async with world.broker() as (broker, _):
                session = await taken(broker, session.id, idle=True)
                told = [
                    e.payload for e in await world.log(session.id) if e.type == "partial_result"
                ]
                await run_all(session, TWO_RUNS[len(told) :])
                kept = await session.execute(steps(["kept"]))
        log = await world.log(session.id)
        require_consistent(log, world.ran)
        told = [event.payload for event in log if event.type == "partial_result"]
        # Each run is told of once, whoever it ran in, and left what it left.
        assert told == [
            {"path": ["run", "run_1"], "data": [[2]], "hasNext": False},
            {"path": ["run", "run_2"], "data": [[2], [1, 2]], "hasNext": False},
        ]
        assert kept.unwrap() == [[1, 2]]
        assert [event.payload["chunk"] for event in log if event.type == "stdout"] == [
            "read 2\n",
            "one\n",
            "read 2\n",
        ]


MANY = steps(
    ["print", "a\n"],
    ["calls", [["read", {"n": 1}], ["read", {"n": 2}]]],
    ["calls", [["pay", {"n": 1}], ["fail", {}]]],
    ["print", "b\n"],
    ["calls", [["read", {"n": 3}]]],
)


@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=2, max_size=4))
@settings(max_examples=25)
def test_one_broker_after_the_other_dies(deaths: list[tuple[int, bool]]) -> None:
    anyio.run(die_one_after_the_other, deaths)


async def die_one_after_the_other(deaths: list[tuple[int, bool]]) -> None:
    world = World(StepRuntime)
    doubt: dict[str, str] = {}
    session_id = ""
    with anyio.fail_after(20):
        for moment, after in deaths:
            async with world.broker() as (broker, store):
                if not session_id:
                    session = await broker.create_session(durable=True)
                    session_id = session.id
                    await session.begin(MANY, last=True)
                store.count(moment, after=after)
                await died_or_ended(world, session_id, store)
            log = await world.log(session_id)
            if log[-1].type == "final":
                break
            doubt |= in_doubt(log)
        async with world.broker():
            log = await world.until_final(session_id)
    require_consistent(log, world.ran)
    final = log[-1].payload
    lost = [call_id for call_id, tool in doubt.items() if tool == "pay"]
    if final["ok"]:
        assert lost == []
        assert final["result"] == [[2, 3], [10, "TOOL_ERROR: no luck"], [4]]
    else:
        assert final["error"]["code"] == "SESSION_LOST"
        assert any(call_id in final["error"]["message"] for call_id in lost)


async def test_a_broker_that_closes_lets_a_durable_session_go_with_nothing_in_doubt() -> None:
    world = World(StepRuntime)
    code = steps(["calls", [["held", {}]]], ["print", "on\n"], ["calls", [["pay", {"n": 1}]]])
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            async with world.broker() as (broker, _):
                session = await broker.create_session(durable=True)
                await session.begin(code, last=True)
                while not world.ran:
                    await anyio.lowlevel.checkpoint()
                tasks.start_soon(_release, world)
            # The call that was under way has come to its end, and the next has not begun.
            log = await world.log(session.id)
            assert in_doubt(log) == {}
            assert [tool for _, _, tool in world.ran] == ["held"]
        async with world.broker():
            log = await world.until_final(session.id)
    require_consistent(log, world.ran)
    assert log[-1].payload["result"] == [["held"], [10]]


async def test_a_call_that_outlasts_a_brokers_close_is_in_doubt_and_not_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the closing broker stopped is no outcome: a call that may be repeated is."""
    monkeypatch.setattr("enclave_broker_core.sessions.CLOSING_TIME", 0.2)
    world = World(StepRuntime)
    code = steps(["calls", [["held", {}]]], ["print", "on\n"])
    async with world.broker() as (broker, _):
        session = await broker.create_session(durable=True)
        await session.begin(code, last=True)
        while not world.ran:
            await anyio.lowlevel.checkpoint()
    log = await world.log(session.id)
    assert [event.type for event in log] == ["session_init", "tool_call"]
    assert list(in_doubt(log).values()) == ["held"]
    world.hold.set()
    async with world.broker():
        log = await world.until_final(session.id)
    final = log[-1].payload
    if final["ok"]:
        assert [tool for _, _, tool in world.ran] == ["held", "held"]
    else:
        assert "it is not known whether the call" in final["error"]["message"]
        assert [tool for _, _, tool in world.ran] == ["held"]


async def _release(world: World) -> None:
    await anyio.wait_all_tasks_blocked()
    world.hold.set()


async def test_an_idle_session_is_there_after_a_restart() -> None:
    world = World(StepRuntime)
    async with world.broker() as (broker, _):
        session = await broker.create_session(durable=True)
    async with world.broker() as (broker, _):
        session = await taken(broker, session.id, idle=True)
        assert await session.call("read", {"n": 1}) == 2
        assert (await session.execute(steps(["keep", 1], ["kept"]))).unwrap() == [[1]]


async def test_a_run_that_fails_where_it_was_taken_up_leaves_what_was_there_before() -> None:
    world = World(StepRuntime)
    async with world.broker() as (broker, store):
        session = await broker.create_session(durable=True)
        await session.run(steps(["keep", 1]))
        await session.begin(steps(READ, ["compute"], ["keep", "x" * 2000]))
        while not world.ran:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        store.die()
    runtime = StepRuntime()
    runtime.computed.set()
    small = SessionSettings(durable_key=world.key, max_durable_bytes=1000)
    async with world.broker(small, runtime=runtime) as (broker, _):
        again = await taken(broker, session.id, idle=True)
        assert (await again.run(steps(["kept"]))).unwrap() == [[1]]
    log = await world.log(session.id)
    told = [event.payload for event in log if event.type == "partial_result"]
    assert told[1]["error"]["code"] == "RUNTIME_ERROR"
    assert "at most 1000 are kept" in told[1]["error"]["message"]


async def test_a_session_that_is_not_durable_is_cancelled_and_lost_as_ever() -> None:
    world = World(StepRuntime)
    async with world.broker() as (broker, _):
        session = await broker.create_session()
    assert (await world.log(session.id))[-1].payload["error"]["code"] == "SESSION_CANCELLED"
    async with world.broker() as (broker, store):
        session = await broker.create_session()
        store.die()
    async with world.broker():
        log = await world.until_final(session.id)
    assert log[-1].payload["error"]["code"] == "SESSION_LOST"


async def test_what_is_missing_for_a_durable_session_is_told() -> None:
    async with Broker(runtime=StepRuntime()) as broker:
        with pytest.raises(ArgumentsError, match="the store keeps no state of running code"):
            await broker.create_session(durable=True)

    class Plain(StepRuntime):
        durable = False

    world = World(StepRuntime)
    for parts, missing in (
        ({"settings": SessionSettings()}, "no durable_key is configured"),
        ({"runtime": None}, "this broker runs no code"),
        ({"runtime": Plain()}, "the runtime 'default' is not durable"),
    ):
        async with world.broker(**parts) as (broker, _):  # type: ignore[arg-type]
            with pytest.raises(ArgumentsError, match=missing):
                await broker.create_session(durable=True)
            assert broker.stats().open_sessions == 0


def test_a_key_is_long_enough_and_never_shown() -> None:
    for keys in ({"durable_key": "easy"}, {"former_durable_keys": ("easy",)}):
        with pytest.raises(ValueError, match="at least 32") as caught:
            SessionSettings(**keys)  # type: ignore[arg-type]
        assert "easy" not in str(caught.value)
    settings = SessionSettings(durable_key=KEY, former_durable_keys=(KEY,))  # type: ignore[arg-type]
    assert KEY not in f"{settings!r} {settings} {settings.model_dump_json()}"
