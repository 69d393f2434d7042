"""Stores that keep and list sessions with one fault each, which the suite must find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anyio.lowlevel import checkpoint
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core.errors import SessionExistsError, SessionNotFoundError
from enclave_broker_core.models import SessionRecord
from enclave_broker_core.testing.session_records import SessionRecordSuite


class KeepsWhatItWasGiven(MemoryStore):
    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        await super().create(record, **bounds)
        self._sessions[record.id]._metadata = record.metadata


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
                "last_seq": session.last_seq,
            }
        )


class ShowsTheNextSeq(MemoryStore):
    async def get(self, session_id: str) -> SessionRecord | None:
        got = await super().get(session_id)
        return None if got is None else got.model_copy(update={"last_seq": got.last_seq + 1})


class CountsNoFinal(MemoryStore):
    async def get(self, session_id: str) -> SessionRecord | None:
        got = await super().get(session_id)
        if got is None or got.ended_at is None:
            return got
        return got.model_copy(update={"last_seq": got.last_seq - 1})


class ListsWithoutSeqs(MemoryStore):
    async def list(self, **asked: Any) -> Sequence[SessionRecord]:
        found = await super().list(**asked)
        return [record.model_copy(update={"last_seq": 0}) for record in found]


class KeepsNoMetadata(MemoryStore):
    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        await super().create(record.model_copy(update={"metadata": {}}), **bounds)


class RaisesForTheUnknown(MemoryStore):
    async def get(self, session_id: str) -> SessionRecord | None:
        return self._get(session_id).record()


class ForgetsWhenItEnded(MemoryStore):
    async def get(self, session_id: str) -> SessionRecord | None:
        got = await super().get(session_id)
        return None if got is None else got.model_copy(update={"ended_at": None})


class CountsEventsForCalls(MemoryStore):
    async def get(self, session_id: str) -> SessionRecord | None:
        got = await super().get(session_id)
        return None if got is None else got.model_copy(update={"tool_calls": got.last_seq})


class LooksBeforeItTakesAnId(MemoryStore):
    """Two who look at the same time both find the id free."""

    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        taken = record.id in self._sessions
        await checkpoint()
        if not taken:
            await self.delete(record.id)
        await super().create(record, **bounds)


class NeverUsesAnIdAgain(MemoryStore):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._used: set[str] = set()

    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        if record.id in self._used:
            raise SessionExistsError(f"the session id {record.id!r} has been used")
        await super().create(record, **bounds)
        self._used.add(record.id)


class OverwritesAnId(MemoryStore):
    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        await self.delete(record.id)
        await super().create(record, **bounds)


class ListsById(MemoryStore):
    async def list(self, **asked: Any) -> Sequence[SessionRecord]:
        return sorted(await super().list(**asked), key=lambda record: record.id)


class ForgetsWhereADeletedOneWas(MemoryStore):
    def _number(self, after: str | None) -> int:
        if after is not None and after not in self._sessions:
            raise SessionNotFoundError("gone")
        return super()._number(after)


class ChoosesFromAPage(MemoryStore):
    """Takes a page and leaves the ended ones out of it, so that it may be short or empty."""

    async def list(self, *, include_ended: bool = False, **asked: Any) -> Sequence[SessionRecord]:
        found = await super().list(include_ended=True, **asked)
        return [record for record in found if include_ended or not record.state.ended]


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


KNOWN_BAD = {
    SessionRecordSuite: {
        KeepsNoMetadata: {"a_session_reads_back_as_it_was_given"},
        RaisesForTheUnknown: {"an_unknown_session_is_none"},
        ForgetsWhenItEnded: {"an_ended_session_shows_its_end"},
        CountsEventsForCalls: {"a_session_shows_how_many_calls_it_has_made"},
        LooksBeforeItTakesAnId: {"one_id_is_taken_once_when_two_create_at_once"},
        NeverUsesAnIdAgain: {"an_id_can_be_used_anew_after_delete"},
        ChoosesFromAPage: {"list_goes_on_page_by_page"},
        KeepsWhatItWasGiven: {"what_was_given_may_change_afterwards"},
        ShowsWhatItKeeps: {"what_was_read_back_may_be_changed"},
        ShowsTheNextSeq: {"a_session_shows_the_seq_of_its_last_event"},
        CountsNoFinal: {"a_session_shows_the_seq_of_its_last_event"},
        ListsWithoutSeqs: {"a_session_shows_the_seq_of_its_last_event"},
        OverwritesAnId: {"an_id_that_is_taken_is_refused"},
        ListsById: {"list_is_in_the_order_of_creation"},
        ForgetsWhereADeletedOneWas: {"paging_goes_on_behind_a_session_that_was_deleted_meanwhile"},
        ListsTheEndedToo: {"list_shows_whose_and_which_sessions_are_asked_for"},
        LeavesTheHistoryBehind: {"delete_forgets_all_that_belongs_to_the_session"},
        SweepsTooEarly: {"sweep_forgets_what_ended_longer_than_the_grace_time_ago"},
        MiscountsTheSwept: {"sweep_forgets_what_ended_longer_than_the_grace_time_ago"},
    }
}
