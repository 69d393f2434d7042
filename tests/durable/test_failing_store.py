"""A store that fails now and then under a durable run, and a broker that dies after that."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
from durable_world import Dying, World, died_or_ended, require_consistent
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_memory import SharedMemory
from step_runtime import StepRuntime

from enclave_broker_core.errors import BrokerError, StoreError

CODE = json.dumps(
    [
        ["print", "a\n"],
        ["calls", [["read", {"n": 1}], ["pay", {"n": 1}]]],
        ["calls", [["pay", {"n": 2}], ["pay", {"n": 3}]]],
        ["print", "b\n"],
        ["calls", [["read", {"n": 2}]]],
    ]
)
ENDS = {"SESSION_LOST", "STORE_UNAVAILABLE", "RUNTIME_ERROR"}


class Failing(Dying):
    """Fails at some of its writes: before the write, or after it, which nobody knows then."""

    def __init__(self, backend: SharedMemory) -> None:
        super().__init__(backend)
        self.fails: dict[int, bool] = {}

    async def _write(self, write: Callable[[], Any]) -> Any:
        number = None if self.writes is None else self.writes + 1
        if number is not None and number in self.fails:
            self.writes = number
            if self.fails[number]:
                await write()
            raise StoreError("the store is out of reach")
        return await super()._write(write)

    async def end(self, *args: Any, **kwargs: Any) -> bool:
        self.fails = {}  # ends that fail are tried again later, which has tests of its own
        return await super().end(*args, **kwargs)


@given(
    fails=st.dictionaries(st.integers(1, 20), st.booleans(), max_size=3),
    dies_at=st.integers(2, 24),
    after=st.booleans(),
)
@settings(max_examples=60)
def test_no_call_is_made_twice_and_there_is_one_end(
    fails: dict[int, bool], dies_at: int, after: bool
) -> None:
    anyio.run(live, fails, dies_at, after)


async def live(fails: dict[int, bool], dies_at: int, after: bool) -> None:
    world = World(StepRuntime, store=Failing)
    with anyio.fail_after(20):
        async with world.broker() as (broker, store):
            session = await broker.create_session(durable=True)
            store.count(dies_at, after=after)
            assert isinstance(store, Failing)
            store.fails = dict(fails)
            try:
                await session.begin(CODE, last=True)
            except BrokerError:
                return  # whoever asked knows that it may have begun or not
            await died_or_ended(world, session.id, store)
        async with world.broker():
            log = await world.until_final(session.id)
    require_consistent(log, world.ran)
    final = log[-1].payload
    if not final["ok"]:
        assert final["error"]["code"] in ENDS
    elif not fails:
        assert final["result"] == [[2, 10], [20, 30], [3]]
