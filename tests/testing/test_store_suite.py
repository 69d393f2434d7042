"""The store suite finds what is wrong with a store, and says so in the test for it."""

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import bad_bounds
import bad_claimants
import bad_claims
import bad_logs
import bad_readers
import bad_records
import bad_stores
import pytest
from anyio.lowlevel import checkpoint
from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import Claim, SessionRecord, SessionState
from enclave_broker_core.testing.stores import SessionStoreSuite

pytest_plugins = ["pytester"]

T = TypeVar("T")


FAULTS = [
    (store, name)
    for module in (
        bad_bounds,
        bad_claimants,
        bad_claims,
        bad_logs,
        bad_readers,
        bad_records,
        bad_stores,
    )
    for faults in module.KNOWN_BAD.values()
    for store, found_by in faults.items()
    for name in sorted(found_by)
]


class WaitsAndIsRight(MemoryStore):
    """Every method takes its time, and those that write take turns."""

    def __init__(self, config: MemoryStoreConfig) -> None:
        super().__init__(config)
        self._kept = MemoryStore(config)
        self._turns = anyio.Lock()

    async def _take_turn(self, write: Coroutine[Any, Any, T], steps: int = 2) -> T:
        with anyio.CancelScope(shield=True):
            await self._turns.acquire()
            for _ in range(steps):
                await checkpoint()
        try:
            return await write
        finally:
            self._turns.release()

    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        await self._take_turn(self._kept.create(record, **bounds))

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        return await self._take_turn(self._kept.append(session_id, event, call), 4 if call else 1)

    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        return await self._take_turn(self._kept.end(session_id, final, state, at))

    async def delete(self, session_id: str) -> bool:
        return await self._take_turn(self._kept.delete(session_id))

    async def sweep(self, now: float) -> int:
        return await self._take_turn(self._kept.sweep(now))

    async def get(self, session_id: str) -> SessionRecord | None:
        await checkpoint()
        return await self._kept.get(session_id)

    async def list(self, **asked: Any) -> Sequence[SessionRecord]:
        await checkpoint()
        return tuple(await self._kept.list(**asked))

    async def read(self, session_id: str, from_seq: int = 1, **how: Any) -> Sequence[Event]:
        await checkpoint()
        return tuple(await self._kept.read(session_id, from_seq, **how))

    async def history(self, session_id: str) -> Sequence[CallRecord]:
        await checkpoint()
        return tuple(await self._kept.history(session_id))

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        await checkpoint()
        return await self._kept.claim(session_id, key, fingerprint, **how)

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        await self._take_turn(self._kept.settle(session_id, key, answer))

    async def release(self, session_id: str, key: str) -> None:
        await self._take_turn(self._kept.release(session_id, key))


class Suite(SessionStoreSuite):
    patience = 0.1
    max_claims = 10

    def __init__(self, store: type[MemoryStore]) -> None:
        self._store = store

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[MemoryStore]:
        yield self._store(MemoryStoreConfig(max_claims=10))


class PatientSuite(Suite):
    patience = SessionStoreSuite.patience


@pytest.mark.anyio
@pytest.mark.parametrize(("store", "found_by"), FAULTS)
async def test_the_suite_finds(store: type[MemoryStore], found_by: str) -> None:
    assert await failures(Suite(store), found_by) == {f"test_{found_by}"}


@pytest.mark.anyio
@pytest.mark.parametrize("store", [MemoryStore, WaitsAndIsRight])
async def test_the_suite_finds_nothing_else(store: type[MemoryStore]) -> None:
    assert await failures(PatientSuite(store)) == set()


async def failures(suite: SessionStoreSuite, only: str = "") -> set[str]:
    """The tests of a suite that fail, each run once for each of its parameters."""
    failed: set[str] = set()
    for name in dir(suite):
        if not name.startswith("test_") or (only and name != f"test_{only}"):
            continue
        test = getattr(suite, name)
        parameters: list[tuple[Any, ...]] = [()]
        for mark in getattr(test, "pytestmark", []):
            if mark.name == "parametrize":
                parameters = [(value,) for value in mark.args[1]]
        for given in parameters:
            try:
                await test(*given)
            except (Exception, pytest.fail.Exception):
                failed.add(name)
    return failed


def test_a_subclass_is_collected_and_runs_on_the_loops_that_it_names(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        from contextlib import asynccontextmanager

        from enclave_broker_core.testing.stores import SessionStoreSuite
        from enclave_broker_memory.store import MemoryStore

        class Forgetful(MemoryStore):
            async def history(self, session_id):
                return (await super().history(session_id))[1:]

        class TestForgetful(SessionStoreSuite):
            loops = ("trio",)

            @asynccontextmanager
            async def open_store(self):
                yield Forgetful()
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] >= 1
    assert outcomes["passed"] >= 30
    kept = "test_a_call_is_kept_with_the_event_that_came_with_it"
    result.stdout.fnmatch_lines([f"FAILED *::TestForgetful::{kept}[[]trio[]]*"])
    result.stdout.no_fnmatch_line("*asyncio*")
    # What went wrong is shown by its values, in the suite's own modules too.
    result.stdout.fnmatch_lines(["E * assert [[][]] == [[]CallRecord(*"])
