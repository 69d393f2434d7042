"""The store suite finds what is wrong with a store, and says so in the test for it."""

from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import bad_logs
import pytest
from anyio.lowlevel import checkpoint
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.errors import SessionNotFoundError, TooManySessionsError
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import SessionRecord, SessionState
from enclave_broker_core.testing.stores import SessionStoreSuite

pytest_plugins = ["pytester"]

T = TypeVar("T")


class KeepsWhatItWasGiven(MemoryStore):
    async def create(self, record: SessionRecord, *, max_open: int | None = None) -> None:
        await super().create(record, max_open=max_open)
        self._sessions[record.id]._record = record


class ShowsWhatItKeeps(MemoryStore):
    async def get(self, session_id: str) -> SessionRecord | None:
        session = self._sessions.get(session_id)
        if session is None:
            return None
        kept = session._record
        return kept.model_copy(
            update={
                "state": session.state,
                "ended_at": session.ended_at,
                "tool_calls": session.tool_calls,
            }
        )


class ShowsItsHistory(MemoryStore):
    async def history(self, session_id: str) -> Sequence[CallRecord]:
        return self._get(session_id).calls


class IsSilentlySync(MemoryStore):
    def sweep(self, now: float) -> Awaitable[int]:  # type: ignore[override]
        return super().sweep(now)


class LosesAWakeUp(MemoryStore):
    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        session = self._sessions.get(session_id)
        if call is None or session is None:
            return await super().append(session_id, event, call)
        waiting, session.changed = session.changed, None
        seq = await super().append(session_id, event, call)
        session.changed = waiting
        return seq


class ForgetsReadersOfDeleted(MemoryStore):
    async def delete(self, session_id: str) -> bool:
        session = self._sessions.get(session_id)
        if session is not None:
            session.changed = None
        return await super().delete(session_id)


class WakesOneReader(MemoryStore):
    """Readers take the event from each other: the one that is woken has it."""

    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        session = self._get(session_id)
        if wait and session.changed is not None:
            with anyio.move_on_after(wait):
                await anyio.Event().wait()
        return await super().read(session_id, from_seq, limit=limit, wait=wait)


class ReturnsAtTheFirstEvent(MemoryStore):
    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        if wait:
            await super().read(session_id, self._get(session_id).last_seq + 1, wait=wait)
        return await super().read(session_id, from_seq, limit=limit)


class WaitsForTheEnded(MemoryStore):
    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        found = await super().read(session_id, from_seq, limit=limit, wait=wait)
        if not found and wait:
            await anyio.sleep(wait)
        return found


class StopsOthersWhenOneIsCancelled(MemoryStore):
    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        try:
            return await super().read(session_id, from_seq, limit=limit, wait=wait)
        except anyio.get_cancelled_exc_class():
            self._get(session_id).changed = None
            raise


class LetsOneTooManyIn(MemoryStore):
    async def create(self, record: SessionRecord, *, max_open: int | None = None) -> None:
        await super().create(record, max_open=None if max_open is None else max_open + 1)


class CountsBeforeItWaits(MemoryStore):
    async def create(self, record: SessionRecord, *, max_open: int | None = None) -> None:
        if max_open is not None and len(self._open) >= max_open:
            raise TooManySessionsError("full", retry_after=self._next_expiry())
        await checkpoint()
        await super().create(record)


class GuessesWhenToRetry(MemoryStore):
    def _next_expiry(self) -> float:
        return 1.0


class SaysToRetryInThePast(MemoryStore):
    def _next_expiry(self) -> float:
        return self._open.first()[0] - self._clock()


class OverwritesAnId(MemoryStore):
    async def create(self, record: SessionRecord, *, max_open: int | None = None) -> None:
        await self.delete(record.id)
        await super().create(record, max_open=max_open)


class ListsById(MemoryStore):
    async def list(self, **asked: Any) -> Sequence[SessionRecord]:
        return sorted(await super().list(**asked), key=lambda record: record.id)


class ForgetsWhereADeletedOneWas(MemoryStore):
    def _number(self, after: str | None) -> int:
        if after is not None and after not in self._sessions:
            raise SessionNotFoundError("gone")
        return super()._number(after)


class ListsTheEndedToo(MemoryStore):
    async def list(self, **asked: Any) -> Sequence[SessionRecord]:
        return await super().list(**{**asked, "include_ended": True})


class LeavesTheHistoryBehind(MemoryStore):
    async def delete(self, session_id: str) -> bool:
        session = self._sessions.get(session_id)
        deleted = await super().delete(session_id)
        if session is not None and session.calls:
            self._sessions[session_id] = session
        return deleted


class SweepsTooEarly(MemoryStore):
    async def sweep(self, now: float) -> int:
        return await super().sweep(now + 2)


class MiscountsTheSwept(MemoryStore):
    async def sweep(self, now: float) -> int:
        return min(1, await super().sweep(now))


FAULTS: dict[type[MemoryStore], str] = {
    **bad_logs.FAULTS,
    KeepsWhatItWasGiven: "what_was_given_may_change_afterwards",
    ShowsWhatItKeeps: "what_was_read_back_may_be_changed",
    ShowsItsHistory: "what_was_read_is_not_shared",
    IsSilentlySync: "every_method_is_a_coroutine_function",
    LosesAWakeUp: "an_append_wakes_all_who_wait",
    ForgetsReadersOfDeleted: "delete_wakes_all_who_wait",
    WakesOneReader: "who_follows_a_session_misses_nothing",
    ReturnsAtTheFirstEvent: "a_reader_waits_for_the_seq_that_it_asked_for",
    WaitsForTheEnded: "an_ended_session_is_never_waited_for",
    StopsOthersWhenOneIsCancelled: "a_cancelled_reader_leaves_no_trace",
    LetsOneTooManyIn: "max_open_counts_the_sessions_that_have_not_ended",
    CountsBeforeItWaits: "max_open_holds_when_many_create_at_once",
    GuessesWhenToRetry: "a_refusal_says_when_the_next_session_expires",
    SaysToRetryInThePast: "a_refusal_never_says_to_come_back_in_the_past",
    OverwritesAnId: "an_id_that_is_taken_is_refused",
    ListsById: "list_is_in_the_order_of_creation",
    ForgetsWhereADeletedOneWas: "paging_goes_on_behind_a_session_that_was_deleted_meanwhile",
    ListsTheEndedToo: "list_shows_whose_and_which_sessions_are_asked_for",
    LeavesTheHistoryBehind: "delete_forgets_all_that_belongs_to_the_session",
    SweepsTooEarly: "sweep_forgets_what_ended_longer_than_the_grace_time_ago",
    MiscountsTheSwept: "sweep_forgets_what_ended_longer_than_the_grace_time_ago",
}


class WaitsAndIsRight(MemoryStore):
    """Every method takes its time, and those that write take turns."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = MemoryStore()
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

    async def create(self, record: SessionRecord, *, max_open: int | None = None) -> None:
        await self._take_turn(self._kept.create(record, max_open=max_open))

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


class Suite(SessionStoreSuite):
    patience = 0.1

    def __init__(self, store: type[MemoryStore]) -> None:
        self._store = store

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[MemoryStore]:
        yield self._store()


class PatientSuite(Suite):
    patience = SessionStoreSuite.patience


@pytest.mark.anyio
@pytest.mark.parametrize(("store", "found_by"), FAULTS.items())
async def test_the_suite_finds(store: type[MemoryStore], found_by: str) -> None:
    assert f"test_{found_by}" in await failures(Suite(store))


@pytest.mark.anyio
@pytest.mark.parametrize("store", [MemoryStore, WaitsAndIsRight])
async def test_the_suite_finds_nothing_else(store: type[MemoryStore]) -> None:
    assert await failures(PatientSuite(store)) == set()


async def failures(suite: SessionStoreSuite) -> set[str]:
    """The tests of a suite that fail, each run once for each of its parameters."""
    failed: set[str] = set()
    for name in dir(suite):
        if not name.startswith("test_"):
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
