"""Stores that hold sessions with one fault each, which the suite must find."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from memory_backend import AdmittingReplica

from enclave_broker_core.errors import SessionLostError
from enclave_broker_core.events import Draft
from enclave_broker_core.models import SessionRecord, SessionState
from enclave_broker_core.store_abilities import Holder
from enclave_broker_core.testing.lease_suite import LeaseSuite


class LetsAnybodyWrite(AdmittingReplica):
    """Knows who holds a session, and does not look."""

    def _require(self, session_id: str) -> None:
        return


class LetsAnybodyEnd(AdmittingReplica):
    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        return await self._backend.memory.end(session_id, final, state, at)


class WritesBeforeItLooks(AdmittingReplica):
    async def append(self, session_id: str, event: Draft, *given: Any, **more: Any) -> int:
        seq = await self._backend.memory.append(session_id, event)
        self._require(session_id)
        return seq


class LeavesTheFenceWhereItIs(AdmittingReplica):
    """Who ever held a session may write: taking it up shuts nobody out."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._held: set[str] = set()

    def _require(self, session_id: str) -> None:
        if session_id not in self._held:
            super()._require(session_id)

    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        await super().create(record, **bounds)
        self._held.add(record.id)


class LooksBeforeItTakes(AdmittingReplica):
    """Two who look at the same time both find the session free, and both hold it."""

    async def _take_up(self, session_id: str, holder: Holder) -> None:
        await checkpoint()
        await super()._take_up(session_id, holder)


class TakesBackWhatItLost(AdmittingReplica):
    def _require(self, session_id: str) -> None:
        try:
            super()._require(session_id)
        except SessionLostError:
            self._backend.holders[session_id] = self
            raise


class TellsNobodyOfTheLoss(AdmittingReplica):
    def _require(self, session_id: str) -> None:
        holder, self._holder = self._holder, None
        try:
            super()._require(session_id)
        finally:
            self._holder = holder


class RenewsOnlyAsItWrites(AdmittingReplica):
    """Whoever holds a session in which nothing happens counts as silent."""

    async def serve(self, holder: Holder) -> None:
        with anyio.move_on_after(self.lease):
            await super().serve(holder)
        await anyio.sleep_forever()


class HoldsOnWhenItStops(AdmittingReplica):
    async def serve(self, holder: Holder) -> None:
        try:
            await super().serve(holder)
        finally:
            self.alive = True


class LeavesWhatWasThereBefore(AdmittingReplica):
    """Hears of what changes, and never looks at what is there when it begins."""

    async def serve(self, holder: Holder) -> None:
        self._holder = holder
        await self._backend.changed.wait()
        await super().serve(holder)


class TakesUpTheEnded(AdmittingReplica):
    async def _take_up(self, session_id: str, holder: Holder) -> None:
        record = await self._backend.memory.get(session_id)
        if record is None or not record.state.ended:
            return await super()._take_up(session_id, holder)
        self._backend.holders[session_id] = self
        return await holder.take_up(record)


class OffersOnce(AdmittingReplica):
    """What came to nothing is nobody's: it is held, and no work is done in it."""

    async def _take_up(self, session_id: str, holder: Holder) -> None:
        self._backend.holders[session_id] = self
        record = await self._backend.memory.get(session_id)
        if record is not None and not record.state.ended:
            with suppress(Exception):
                await holder.take_up(record)


class OffersASessionAsItBegan(AdmittingReplica):
    async def _take_up(self, session_id: str, holder: Holder) -> None:
        await super()._take_up(session_id, _AsItBegan(holder))


class _AsItBegan:
    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self.lost = holder.lost
        self.command = holder.command

    async def take_up(self, record: SessionRecord) -> None:
        await self._holder.take_up(record.model_copy(update={"last_seq": 0}))


KNOWN_BAD = {
    LeaseSuite: {
        LetsAnybodyWrite: {
            "who_creates_a_session_holds_it_and_nobody_else_writes",
            "one_that_was_silent_finds_out_and_writes_nothing_more",
            "who_stops_serving_gives_its_sessions_up",
        },
        LetsAnybodyEnd: {
            "who_creates_a_session_holds_it_and_nobody_else_writes",
            "one_that_was_silent_finds_out_and_writes_nothing_more",
        },
        WritesBeforeItLooks: {
            "who_creates_a_session_holds_it_and_nobody_else_writes",
            "one_that_was_silent_finds_out_and_writes_nothing_more",
            "who_lost_all_goes_on_with_new_sessions",
        },
        LeavesTheFenceWhereItIs: {
            "one_that_was_silent_finds_out_and_writes_nothing_more",
            "who_stops_serving_gives_its_sessions_up",
        },
        LooksBeforeItTakes: {"what_a_silent_one_held_is_taken_up_once"},
        TakesBackWhatItLost: {
            "who_creates_a_session_holds_it_and_nobody_else_writes",
            "one_that_was_silent_finds_out_and_writes_nothing_more",
        },
        TellsNobodyOfTheLoss: {"one_that_was_silent_finds_out_and_writes_nothing_more"},
        RenewsOnlyAsItWrites: {
            "who_renews_keeps_what_it_holds",
            "what_a_silent_one_held_is_taken_up_once",
            "what_nobody_holds_is_taken_up_by_who_comes_next",
        },
        HoldsOnWhenItStops: {"who_stops_serving_gives_its_sessions_up"},
        LeavesWhatWasThereBefore: {
            "what_nobody_holds_is_taken_up_by_who_comes_next",
            "who_stops_serving_gives_its_sessions_up",
        },
        TakesUpTheEnded: {"what_nobody_holds_is_taken_up_by_who_comes_next"},
        OffersOnce: {"what_could_not_be_taken_up_is_offered_again"},
        OffersASessionAsItBegan: {
            "what_a_silent_one_held_is_taken_up_once",
            "what_nobody_holds_is_taken_up_by_who_comes_next",
        },
    }
}
