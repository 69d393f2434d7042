"""Stores that brokers share with one fault each, which the suite must find."""

from __future__ import annotations

from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from enclave_broker_memory.store import MemoryStore
from memory_backend import AdmittingReplica

from enclave_broker_core.errors import SessionEndedError, SessionLostError
from enclave_broker_core.models import SessionRecord
from enclave_broker_core.store_abilities import Holder
from enclave_broker_core.testing.command_suite import SharedStoreSuite


class SaysNothingOfSharing(AdmittingReplica):
    shared = False


# Who does a command, and how often


class DoesItHere(AdmittingReplica):
    """Whoever is asked does it, and not who holds the session."""

    async def ask(self, session_id: str, body: bytes) -> bytes:
        await self._found(session_id)
        assert self._holder is not None
        return await self._holder.command(session_id, body)


class TellsAll(AdmittingReplica):
    """All who serve hear of it, and each begins it."""

    async def _answer(self, session_id: str, body: bytes, *given: Any) -> None:
        for other in set(self._backend.holders.values()) - {self}:
            if other._holder is not None:
                await other._holder.command(session_id, body)
        await super()._answer(session_id, body, *given)


class DeliversTwice(AdmittingReplica):
    """Delivers at least once, as some queues do."""

    async def _answer(self, session_id: str, body: bytes, *given: Any) -> None:
        assert self._holder is not None
        await self._holder.command(session_id, body)
        await super()._answer(session_id, body, *given)


class RemembersWhoHeld(AdmittingReplica):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._holders: dict[str, Any] = {}

    async def ask(self, session_id: str, body: bytes) -> bytes:
        await self._found(session_id)
        held = self._backend.holders[session_id]
        if not self._holders.setdefault(session_id, held).alive:
            raise SessionLostError("the holder has gone")
        return await super().ask(session_id, body)


class AsksTheNext(AdmittingReplica):
    """What one had in hand who has gone is done once more by who comes next."""

    async def ask(self, session_id: str, body: bytes) -> bytes:
        while True:
            try:
                return await super().ask(session_id, body)
            except SessionLostError:
                await checkpoint()


class WaitsForWhoHasGone(AdmittingReplica):
    async def ask(self, session_id: str, body: bytes) -> bytes:
        try:
            return await super().ask(session_id, body)
        except SessionLostError:
            await anyio.sleep_forever()
            raise


class BeginsWhatHasEnded(AdmittingReplica):
    async def ask(self, session_id: str, body: bytes) -> bytes:
        if (await self._found(session_id)).state.ended:
            holder = self._backend.holders[session_id]._holder
            assert holder is not None
            await holder.command(session_id, body)
        return await super().ask(session_id, body)


# Order, and those that are under way


class LetsThemOvertake(AdmittingReplica):
    turns = 0

    async def _answer(self, *given: Any) -> None:
        self.turns += 1
        if self.turns % 2:
            await checkpoint()
            await checkpoint()
        await super()._answer(*given)


class OneAfterTheOther(AdmittingReplica):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._turn = anyio.Lock()

    async def _answer(self, *given: Any) -> None:
        async with self._turn:
            await super()._answer(*given)


class GoesOnWithWhatWasWithdrawn(AdmittingReplica):
    """A command is begun in a task of the one who serves, which hears of no cancellation."""

    async def serve(self, holder: Holder) -> None:
        async with anyio.create_task_group() as self._tasks:
            await super().serve(holder)

    async def _answer(self, *given: Any) -> None:
        self._tasks.start_soon(super()._answer, *given)
        await anyio.sleep_forever()


# What is asked, and the answer


class CutsLargeOnesOff(AdmittingReplica):
    async def ask(self, session_id: str, body: bytes) -> bytes:
        return await super().ask(session_id, body[:65536])


class TakesThemForText(AdmittingReplica):
    async def ask(self, session_id: str, body: bytes) -> bytes:
        return await super().ask(session_id, body.decode(errors="replace").encode())


class GivesTheLatestAnswer(AdmittingReplica):
    """Answers are kept by session, and so is one's answer given to another."""

    latest = b""

    async def _answer(
        self, session_id: str, body: bytes, answers: list[bytes], scope: anyio.CancelScope
    ) -> None:
        assert self._holder is not None
        self.latest = await self._holder.command(session_id, body)
        await checkpoint()
        answers.append(self.latest)
        scope.cancel()


class LosesTheAnswerAtTheEnd(AdmittingReplica):
    """Looks whether the session is there still before it hands over the answer."""

    async def ask(self, session_id: str, body: bytes) -> bytes:
        answer = await super().ask(session_id, body)
        if (await self._found(session_id)).state.ended:
            raise SessionEndedError("the session has ended")
        return answer


# What all see alike


class WakesItsOwnReaders(AdmittingReplica):
    async def read(
        self, session_id: str, from_seq: int = 1, *, wait: float | None = None, **how: Any
    ) -> Any:
        if wait and self._backend.holders[session_id] is not self:
            await anyio.sleep_forever()
        return await super().read(session_id, from_seq, wait=wait, **how)


class BoundsItsOwnSessions(AdmittingReplica):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._mine = MemoryStore()

    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        await self._mine.create(record, **bounds)
        await super().create(record)


class ClaimsForItself(AdmittingReplica):
    def _own(self, key: str) -> str:
        return f"{id(self)} {key}"

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Any:
        return await super().claim(session_id, self._own(key), fingerprint, **how)

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        await super().settle(session_id, self._own(key), answer)


class RemembersWhatItMade(AdmittingReplica):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._made: dict[str, SessionRecord] = {}

    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        await super().create(record, **bounds)
        self._made[record.id] = record

    async def get(self, session_id: str) -> SessionRecord | None:
        return self._made.get(session_id) or await super().get(session_id)


KNOWN_BAD = {
    SharedStoreSuite: {
        SaysNothingOfSharing: {"says_that_it_is_shared"},
        DoesItHere: {
            "a_command_from_anywhere_reaches_the_holder",
            "each_is_begun_once_and_in_its_askers_order",
            "a_slow_one_holds_no_other_up",
            "who_stops_asking_stops_what_was_begun",
            "of_a_session_that_is_unknown_or_has_ended",
            "one_that_ends_its_session_is_answered",
            "they_go_to_who_took_the_session_up",
            "what_its_holder_had_in_hand_is_lost_and_said_so",
        },
        TellsAll: {"a_command_from_anywhere_reaches_the_holder"},
        DeliversTwice: {
            "a_command_from_anywhere_reaches_the_holder",
            "each_is_begun_once_and_in_its_askers_order",
            "one_that_ends_its_session_is_answered",
            "they_go_to_who_took_the_session_up",
        },
        RemembersWhoHeld: {"they_go_to_who_took_the_session_up"},
        AsksTheNext: {"what_its_holder_had_in_hand_is_lost_and_said_so"},
        WaitsForWhoHasGone: {"what_its_holder_had_in_hand_is_lost_and_said_so"},
        BeginsWhatHasEnded: {"of_a_session_that_is_unknown_or_has_ended"},
        LetsThemOvertake: {"each_is_begun_once_and_in_its_askers_order"},
        OneAfterTheOther: {"a_slow_one_holds_no_other_up"},
        GoesOnWithWhatWasWithdrawn: {"who_stops_asking_stops_what_was_begun"},
        CutsLargeOnesOff: {"large_ones_arrive_whole"},
        TakesThemForText: {
            "a_command_from_anywhere_reaches_the_holder",
            "large_ones_arrive_whole",
        },
        GivesTheLatestAnswer: {"each_is_begun_once_and_in_its_askers_order"},
        LosesTheAnswerAtTheEnd: {"one_that_ends_its_session_is_answered"},
        WakesItsOwnReaders: {"a_reader_elsewhere_is_woken"},
        BoundsItsOwnSessions: {"bounds_hold_for_all_replicas_together"},
        ClaimsForItself: {"a_key_is_claimed_once_by_all_replicas_together"},
        RemembersWhatItMade: {"all_see_the_same_sessions_and_history"},
    }
}
