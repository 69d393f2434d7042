"""Stores that keep logs and histories with one fault each, which the suite must find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import SessionState
from enclave_broker_core.testing.session_logs import SessionLogSuite


class ForgetsAnEvent(MemoryStore):
    async def read(self, session_id: str, from_seq: int = 1, **how: Any) -> Sequence[Event]:
        found = await super().read(session_id, from_seq, **how)
        return [event for event in found if event.seq != 2]


class Renumbers(MemoryStore):
    """Shows each seq as ``shown`` says, both when it is given and when it is read back."""

    def shown(self, seq: int) -> int:
        raise NotImplementedError

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        return self.shown(await super().append(session_id, event, call))

    async def read(self, session_id: str, from_seq: int = 1, **how: Any) -> Sequence[Event]:
        found = await super().read(session_id, from_seq, **how)
        return [event._replace(seq=self.shown(event.seq)) for event in found]


class CountsFromZero(Renumbers):
    def shown(self, seq: int) -> int:
        return seq - 1


class LeavesAGap(Renumbers):
    def shown(self, seq: int) -> int:
        return seq if seq < 3 else seq + 1


class GivesASeqTwice(Renumbers):
    def shown(self, seq: int) -> int:
        return seq if seq < 3 else seq - 1


class ReturnsAnotherSeq(MemoryStore):
    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        return await super().append(session_id, event, call) + 1


class CountsForAllSessions(MemoryStore):
    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        self._get(session_id).last_seq = max(one.last_seq for one in self._sessions.values())
        return await super().append(session_id, event, call)


class LooksForAPlaceFirst(MemoryStore):
    """Two that look at the same time find the same place."""

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        seq = self._get(session_id).last_seq + 1
        with anyio.CancelScope(shield=True):
            await checkpoint()
            await super().append(session_id, event, call)
        return seq


class TakesItsPlaceAfterWaiting(MemoryStore):
    """Writes the call first, and that takes its time."""

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        with anyio.CancelScope(shield=True):
            for _ in range(4 if call else 1):
                await checkpoint()
        return await super().append(session_id, event, call)


class TakesAPlaceForNothing(MemoryStore):
    """The seq of a session that is not there goes on all the same."""

    taken = 0

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        if session_id not in self._sessions:
            self.taken += 1
        elif self.taken:
            self._sessions[session_id].last_seq += self.taken
            self.taken = 0
        return await super().append(session_id, event, call)


class CanBeCancelledHalfWay(MemoryStore):
    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        seq = await super().append(session_id, event)
        if call is not None:
            await checkpoint()
            await self._keep(session_id, call)
        return seq

    async def _keep(self, session_id: str, call: CallRecord) -> None:
        session = self._get(session_id)
        session.calls.append(call)
        session.tool_calls += 1


class CanBeCancelledLate(CanBeCancelledHalfWay):
    """As it is with a database that is some steps away."""

    async def _keep(self, session_id: str, call: CallRecord) -> None:
        with anyio.CancelScope(shield=True):
            for _ in range(12):
                await checkpoint()
        await checkpoint()
        await super()._keep(session_id, call)


class LeavesAGapWhenCancelled(MemoryStore):
    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class():
            self._get(session_id).last_seq += 1
            raise
        return await super().append(session_id, event, call)


class KeepsACallWithoutItsEvent(MemoryStore):
    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        session = self._get(session_id)
        if call is not None and session.ended_at is not None:
            session.calls.append(call)
        return await super().append(session_id, event, call)


class WritesFinalTwice(MemoryStore):
    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        session = self._get(session_id)
        if session.ended_at is not None:
            session.events.append(final)
            session.last_seq += 1
        return await super().end(session_id, final, state, at)


class LooksBeforeItEnds(MemoryStore):
    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        session = self._get(session_id)
        if session.ended_at is not None:
            return False
        await checkpoint()
        if not await super().end(session_id, final, state, at):
            session.events.append(final)
            session.last_seq += 1
        return True


class PutsFinalInTheLastPlace(MemoryStore):
    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        session = self._get(session_id)
        if session.events and session.ended_at is None:
            session.events.pop()
            session.last_seq -= 1
        return await super().end(session_id, final, state, at)


class EndsAfterItsFinal(MemoryStore):
    """Appends get in between the final event and the end."""

    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        session = self._get(session_id)
        if session.ended_at is not None:
            return False
        await self.append(session_id, final)
        await checkpoint()
        session.end(state, at)
        return True


class EndsInAnyState(MemoryStore):
    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        known = state if state.ended else SessionState.FAILED
        return await super().end(session_id, final, known, at)


class WritesToTheLatest(MemoryStore):
    """Which session is written to is kept where another writer may change it."""

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        self._latest = session_id
        await checkpoint()
        return await super().append(self._latest, event, call)


class ShowsItsLog(MemoryStore):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._logs: dict[str, list[Event]] = {}

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        seq = await super().append(session_id, event, call)
        self._logs.setdefault(session_id, []).append(Event(session_id, seq, *event))
        return seq

    async def read(self, session_id: str, from_seq: int = 1, **how: Any) -> Sequence[Event]:
        if from_seq > 1 or how:
            return await super().read(session_id, from_seq, **how)
        return self._logs[session_id]


class ShowsItsHistory(MemoryStore):
    async def history(self, session_id: str) -> Sequence[CallRecord]:
        return self._get(session_id).calls


class ReadsMereTuples(MemoryStore):
    async def read(self, session_id: str, from_seq: int = 1, **how: Any) -> Sequence[Event]:
        found: list[Any] = [tuple(item) for item in await super().read(session_id, from_seq, **how)]
        return found


class RemembersMereTuples(MemoryStore):
    async def history(self, session_id: str) -> Sequence[CallRecord]:
        found: list[Any] = [tuple(item) for item in await super().history(session_id)]
        return found


class ReadsMemoryviews(MemoryStore):
    """As some drivers of databases do."""

    async def read(self, session_id: str, from_seq: int = 1, **how: Any) -> Sequence[Event]:
        found = await super().read(session_id, from_seq, **how)
        view: Any = memoryview
        return [item._replace(payload_json=view(item.payload_json)) for item in found]


KNOWN_BAD = {
    SessionLogSuite: {
        ForgetsAnEvent: {"events_read_back_in_order_as_they_were_given"},
        CountsFromZero: {"places_begin_with_one_and_leave_no_gap"},
        LeavesAGap: {"places_begin_with_one_and_leave_no_gap"},
        GivesASeqTwice: {"places_begin_with_one_and_leave_no_gap"},
        CountsForAllSessions: {"places_begin_with_one_and_leave_no_gap"},
        ReturnsAnotherSeq: {"the_seq_returned_is_the_seq_read_back"},
        LooksForAPlaceFirst: {"each_of_many_tasks_gets_places_of_its_own"},
        TakesItsPlaceAfterWaiting: {"appends_take_their_places_in_the_order_in_which_they_began"},
        TakesAPlaceForNothing: {"nothing_is_written_to_a_session_that_is_not_there"},
        CanBeCancelledHalfWay: {"a_cancelled_append_is_finished_or_has_not_happened"},
        CanBeCancelledLate: {"a_cancelled_append_is_finished_or_has_not_happened"},
        LeavesAGapWhenCancelled: {"a_cancelled_append_leaves_no_gap_among_others"},
        KeepsACallWithoutItsEvent: {"the_final_event_takes_the_next_place_and_ends_the_log"},
        WritesFinalTwice: {"an_ended_session_never_changes_again"},
        LooksBeforeItEnds: {"when_two_end_at_once_one_does"},
        PutsFinalInTheLastPlace: {"the_final_event_takes_the_next_place_and_ends_the_log"},
        EndsAfterItsFinal: {"an_end_among_appends_is_behind_those_that_began_before_it"},
        EndsInAnyState: {"an_end_needs_a_state_that_is_one"},
        WritesToTheLatest: {"sessions_that_write_at_once_do_not_mix"},
        ShowsItsLog: {"what_was_read_is_not_shared"},
        ShowsItsHistory: {"what_was_read_is_not_shared"},
        ReadsMereTuples: {"events_read_back_in_order_as_they_were_given"},
        ReadsMemoryviews: {"events_read_back_in_order_as_they_were_given"},
        RemembersMereTuples: {"a_call_is_kept_with_the_event_that_came_with_it"},
    }
}
