"""What a durable run saves of its calls, and what it holds a runtime to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from durable_world import KEY, Dying, World

from enclave_broker_core import RunError, Session
from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.durable_state import CodeState
from enclave_broker_core.errors import StoreError
from enclave_broker_core.seals import Seal
from enclave_broker_core.store_abilities import Saved

pytestmark = pytest.mark.anyio

Act = Callable[[RuntimeHost], Awaitable[Any]]


class Acting:
    """A durable runtime whose every run is ``act``."""

    language = "none"
    durable = True

    def __init__(self, act: Act) -> None:
        self._act = act

    @asynccontextmanager
    async def session(self, host: RuntimeHost, state: bytes | None = None) -> AsyncIterator[Any]:
        self._host = host
        yield self

    async def run(self, code: str, *, last: bool = False) -> Any:
        return await self._act(self._host)

    async def dump(self) -> bytes:
        return b"state"


async def no_key(host: RuntimeHost) -> None:
    await host.checkpoint(b"", ["a"])
    await host.call("read", {"n": 1})


async def not_listed(host: RuntimeHost) -> None:
    await host.checkpoint(b"", ["a"])
    await host.call("read", {"n": 1}, key="b")


async def not_kept(host: RuntimeHost) -> None:
    await host.call("read", {"n": 1}, key="a")


async def twice(host: RuntimeHost) -> None:
    await host.checkpoint(b"", ["a"])
    await host.call("read", {"n": 1}, key="a")
    await host.call("read", {"n": 1}, key="a")


async def bad_key(host: RuntimeHost) -> None:
    await host.checkpoint(b"", ["a b"])


@pytest.mark.parametrize(
    ("act", "said", "ran"),
    [
        (no_key, "without a key", 0),
        (not_listed, "no checkpoint lists: 'b'", 0),
        (not_kept, "no checkpoint lists: 'a'", 0),
        (twice, "twice: 'a'", 1),
        (bad_key, "'a b' can't be the key", 0),
    ],
)
async def test_a_runtime_that_breaks_its_word_fails_the_run(act: Act, said: str, ran: int) -> None:
    world = World(lambda: Acting(act))
    async with world.broker() as (broker, _):
        session = await broker.create_session(durable=True)
        outcome = await session.run("")
    assert isinstance(outcome.error, RunError)
    assert said in outcome.error.message
    assert len(world.ran) == ran


async def test_a_call_that_begins_while_a_state_is_saved_has_begun_in_the_next() -> None:
    """Or else it would be made a second time by who goes on from that."""
    saving = anyio.Event()

    async def act(host: RuntimeHost) -> None:
        async def late() -> None:
            await saving.wait()
            await host.call("held", {}, key="a")

        await host.checkpoint(b"1", ["a"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(late)
            await host.checkpoint(b"2", ["a", "b"])
            await host.checkpoint(b"3", ["a", "b"])
            tasks.cancel_scope.cancel()

    world = World(lambda: Acting(act))
    async with world.broker() as (broker, store):
        save = store.save

        async def slow(*args: Any, **kwargs: Any) -> None:
            if len(store.saves) == 2:  # that of the run's beginning, and the first checkpoint
                saving.set()
                while not world.ran:
                    await anyio.lowlevel.checkpoint()
            await save(*args, **kwargs)

        store.save = slow  # type: ignore[method-assign]
        session = await broker.create_session(durable=True)
        await session.run("")
        seal = Seal([KEY.encode()])
        pending = [CodeState.from_bytes(state, seal, session.id).pending for state in store.saves]
    assert pending == [
        {},
        {"c_run_1_a": None},
        {"c_run_1_a": None, "c_run_1_b": None},
        {"c_run_1_a": "held", "c_run_1_b": None},
        {},
    ]


async def test_a_broker_that_closes_begins_no_more_calls() -> None:
    async def act(host: RuntimeHost) -> None:
        await host.checkpoint(b"1", ["a", "b"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(host.call, "held", {}, key="a"))
            await host.call("read", {"n": 1}, key="b")
            await closing.wait()
            await host.checkpoint(b"2", ["a", "c"])
            await host.call("pay_slowly", {}, key="c")

    async def close() -> None:
        await anyio.wait_all_tasks_blocked()
        closing.set()
        await anyio.wait_all_tasks_blocked()
        world.hold.set()

    closing = anyio.Event()
    world = World(lambda: Acting(act))
    async with anyio.create_task_group() as tasks, world.broker() as (broker, store):
        session = await broker.create_session(durable=True)
        await session.begin("")
        while len(world.ran) < 2:
            await anyio.lowlevel.checkpoint()
        tasks.start_soon(close)
    assert sorted(tool for _, _, tool in world.ran) == ["held", "read"]
    pending = CodeState.from_bytes(store.saves[-1], Seal([KEY.encode()]), session.id).pending
    assert pending == {"c_run_1_a": "held", "c_run_1_c": None}
    assert list(world.backend.answers[session.id]) == ["c_run_1_a"]


async def test_code_that_is_too_long_fails_and_is_not_kept() -> None:
    async def act(host: RuntimeHost) -> None:
        raise AssertionError("it ran")

    world = World(lambda: Acting(act))
    async with world.broker() as (broker, store):
        session = await broker.create_session(durable=True, max_code_bytes=10)
        outcome = await session.run("x" * 100_000)
    assert "longer than 10 bytes" in str(outcome.error)
    assert max(map(len, store.saves)) < 2000


async def test_a_session_that_could_not_be_taken_up_at_once_is_there_afterwards() -> None:
    async def act(host: RuntimeHost) -> None:
        return None

    class Unlucky(Dying):
        failed = False

        async def saved(self, session_id: str) -> Saved | None:
            if not self.failed:
                self.failed = True
                raise StoreError("the store is out of reach")
            return await super().saved(session_id)

    world = World(lambda: Acting(act), store=Unlucky)
    async with world.broker() as (broker, store):
        session = await broker.create_session(durable=True)
        store.die()
    async with world.broker() as (broker, store):
        await anyio.wait_all_tasks_blocked()
        assert isinstance(store, Unlucky)
        assert store.failed
        assert broker.stats().open_sessions == 1
        assert isinstance(await broker.get_session(session.id), Session)


async def test_a_session_expires_when_it_would_have_wherever_it_is() -> None:
    async def act(host: RuntimeHost) -> None:
        return None

    world = World(lambda: Acting(act))
    async with world.broker() as (broker, store):
        session = await broker.create_session(durable=True, timeout=1000)
        record = await world.backend.memory.get(session.id)
        assert record is not None
        store.die()
    early = world.backend.memory._sessions[session.id]
    early._record = record.model_copy(update={"created_at": record.created_at - 900})
    async with world.broker() as (broker, _):
        taken = await broker.get_session(session.id)
        while taken.info().created_at == record.created_at or not hasattr(taken, "started"):
            await anyio.lowlevel.checkpoint()
            taken = await broker.get_session(session.id)
        assert 0 < taken.remaining() <= 100
        assert 890 < taken.stats().duration < 1000
