"""Stores that wake readers with one fault each, which the suite must find."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import SessionState
from enclave_broker_core.testing.session_readers import SessionReaderSuite


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


class ReadsFromBehind(MemoryStore):
    """Takes the seq to begin with for a place in the list, which begins with zero."""

    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        more = from_seq if from_seq == 1 else from_seq + 1
        return await super().read(session_id, more, limit=limit, wait=wait)


class WaitsUnasked(MemoryStore):
    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        return await super().read(session_id, from_seq, limit=limit, wait=wait or 3600.0)


class RaisesWhenTheTimeIsOver(MemoryStore):
    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        found = await super().read(session_id, from_seq, limit=limit, wait=wait)
        if wait and not found and self._get(session_id).ended_at is None:
            raise TimeoutError
        return found


class SleepsThroughTheEnd(MemoryStore):
    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        session = self._get(session_id)
        waiting, session.changed = session.changed, None
        ended = await super().end(session_id, final, state, at)
        session.changed = waiting
        return ended


class StopsOthersWhenOneIsCancelled(MemoryStore):
    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        try:
            return await super().read(session_id, from_seq, limit=limit, wait=wait)
        except anyio.get_cancelled_exc_class():
            self._get(session_id).changed = None
            raise


KNOWN_BAD = {
    SessionReaderSuite: {
        ReadsFromBehind: {"read_gives_what_is_asked_for"},
        WaitsUnasked: {"read_without_wait_returns_at_once"},
        RaisesWhenTheTimeIsOver: {"a_wait_that_is_over_returns_nothing"},
        SleepsThroughTheEnd: {"the_end_wakes_all_who_wait"},
        LosesAWakeUp: {"an_append_wakes_all_who_wait"},
        ForgetsReadersOfDeleted: {"delete_wakes_all_who_wait"},
        WakesOneReader: {"who_follows_a_session_misses_nothing"},
        ReturnsAtTheFirstEvent: {"a_reader_waits_for_the_seq_that_it_asked_for"},
        WaitsForTheEnded: {"an_ended_session_is_never_waited_for"},
        StopsOthersWhenOneIsCancelled: {"a_cancelled_reader_leaves_no_trace"},
    }
}
