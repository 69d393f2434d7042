"""Stores that keep the state of running code with one fault each, which the suite must find."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from anyio.lowlevel import checkpoint
from memory_backend import AdmittingReplica

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.errors import SessionNotFoundError
from enclave_broker_core.events import Draft
from enclave_broker_core.models import SessionState
from enclave_broker_core.store_abilities import Saved
from enclave_broker_core.testing.durable_store_suite import DurableStoreSuite

# The state


class KeepsTheFirstState(AdmittingReplica):
    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        state = self._backend.states.get(session_id, state)
        await super().save(session_id, state, keep=keep)


class SavesInItsProcess(AdmittingReplica):
    """What it saved it says itself, and writes it down some time."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._last: dict[str, bytes] = {}

    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        before = self._last.setdefault(session_id, state)
        await super().save(session_id, before, keep=keep)
        self._last[session_id] = state

    async def saved(self, session_id: str) -> Saved | None:
        found = await super().saved(session_id)
        if found is None or session_id not in self._last:
            return found
        return Saved(self._last[session_id], found.answers)


class TakesStatesForText(AdmittingReplica):
    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        await super().save(session_id, state.decode(errors="replace").encode(), keep=keep)


class GivesMemoryviews(AdmittingReplica):
    """As some drivers of databases do."""

    async def saved(self, session_id: str) -> Saved | None:
        found = await super().saved(session_id)
        view: Any = memoryview
        return found and Saved(view(found.state), found.answers)


class TakesAnEmptyStateForNone(AdmittingReplica):
    async def saved(self, session_id: str) -> Saved | None:
        found = await super().saved(session_id)
        return found if found and found.state else None


class HasNothingOfTheUnknown(AdmittingReplica):
    async def saved(self, session_id: str) -> Saved | None:
        try:
            return await super().saved(session_id)
        except SessionNotFoundError:
            return None


class SavesForAnybody(AdmittingReplica):
    """Who lost the session saves over what the next one has."""

    def _require(self, session_id: str) -> None:
        if not self.saves:
            super()._require(session_id)

    saves = False

    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        self.saves = True
        try:
            await super().save(session_id, state, keep=keep)
        finally:
            self.saves = False


class SavesOutOfTurn(AdmittingReplica):
    """Writes states in another way than events, and that takes its time."""

    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        await checkpoint()
        await checkpoint()
        await super().save(session_id, state, keep=keep)


# What goes with the session


class KeepsTheStateOfTheEnded(AdmittingReplica):
    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        kept = self._backend.states.get(session_id)
        ended = await super().end(session_id, final, state, at)
        if kept is not None:
            self._backend.states[session_id] = kept
        return ended


class SavesAfterTheEnd(AdmittingReplica):
    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        self._require(session_id)
        await self._found(session_id)
        self._backend.states[session_id] = state
        kept = self._backend.answers.get(session_id, {})
        self._backend.answers[session_id] = {one: kept[one] for one in keep if one in kept}


class KeepsTheStateOfTheDeleted(AdmittingReplica):
    async def delete(self, session_id: str) -> bool:
        kept = self._backend.states.get(session_id)
        deleted = await super().delete(session_id)
        if kept is not None:
            self._backend.states[session_id] = kept
        return deleted


class KeepsTheAnswersOfTheDeleted(AdmittingReplica):
    async def delete(self, session_id: str) -> bool:
        kept = self._backend.answers.get(session_id, {})
        deleted = await super().delete(session_id)
        self._backend.answers[session_id] = kept
        return deleted


# Answers


class KeepsAllAnswers(AdmittingReplica):
    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        keep = self._backend.answers.get(session_id, {})
        await super().save(session_id, state, keep=list(keep))


class KeepsNoAnswers(AdmittingReplica):
    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        await super().save(session_id, state)


class LosesEmptyAnswers(AdmittingReplica):
    async def append(
        self,
        session_id: str,
        event: Draft,
        call: CallRecord | None = None,
        *,
        answer: bytes | None = None,
    ) -> int:
        return await super().append(session_id, event, call, answer=answer or None)


class KeepsAnswersToItself(AdmittingReplica):
    """Another that takes the session up knows nothing of them."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._mine: set[str] = set()

    async def append(
        self, session_id: str, event: Draft, call: CallRecord | None = None, **how: Any
    ) -> int:
        if call is not None:
            self._mine.add(call.call_id)
        return await super().append(session_id, event, call, **how)

    async def saved(self, session_id: str) -> Saved | None:
        found = await super().saved(session_id)
        if found is None:
            return None
        mine = {id: answer for id, answer in found.answers.items() if id in self._mine}
        return Saved(found.state, mine)


class KeepsAnswersInAStepOfTheirOwn(AdmittingReplica):
    """Who is cancelled between the two has written what nobody can go on with."""

    async def append(
        self,
        session_id: str,
        event: Draft,
        call: CallRecord | None = None,
        *,
        answer: bytes | None = None,
    ) -> int:
        seq = await super().append(session_id, event, call)
        if call is not None and answer is not None:
            await checkpoint()
            self._backend.answers.setdefault(session_id, {})[call.call_id] = answer
        return seq


class KeepsAnAnswerBeforeItLooks(AdmittingReplica):
    """Where the event can't be written, its answer is there all the same."""

    async def append(
        self,
        session_id: str,
        event: Draft,
        call: CallRecord | None = None,
        *,
        answer: bytes | None = None,
    ) -> int:
        if call is not None and answer is not None:
            self._backend.answers.setdefault(session_id, {})[call.call_id] = answer
        return await super().append(session_id, event, call, answer=answer)


KNOWN_BAD = {
    DurableStoreSuite: {
        KeepsTheFirstState: {
            "the_last_state_is_read_back_byte_for_byte",
            "an_answer_is_kept_with_its_call_until_a_state_lets_it_go",
            "who_lost_the_session_saves_nothing",
        },
        SavesInItsProcess: {
            "the_last_state_is_read_back_byte_for_byte",
            "an_answer_is_kept_with_its_call_until_a_state_lets_it_go",
            "nothing_is_left_of_a_deleted_session",
            "who_lost_the_session_saves_nothing",
        },
        TakesStatesForText: {"the_last_state_is_read_back_byte_for_byte"},
        GivesMemoryviews: {"the_last_state_is_read_back_byte_for_byte"},
        TakesAnEmptyStateForNone: {"the_last_state_is_read_back_byte_for_byte"},
        HasNothingOfTheUnknown: {
            "nothing_is_saved_at_first",
            "nothing_is_left_of_a_deleted_session",
        },
        SavesForAnybody: {"who_lost_the_session_saves_nothing"},
        SavesOutOfTurn: {"a_state_has_its_place_among_the_appends"},
        KeepsTheStateOfTheEnded: {"an_ended_session_has_no_state"},
        SavesAfterTheEnd: {"an_ended_session_has_no_state"},
        KeepsTheStateOfTheDeleted: {"nothing_is_left_of_a_deleted_session"},
        KeepsTheAnswersOfTheDeleted: {"nothing_is_left_of_a_deleted_session"},
        KeepsAllAnswers: {
            "an_answer_is_kept_with_its_call_until_a_state_lets_it_go",
            "a_state_has_its_place_among_the_appends",
        },
        KeepsNoAnswers: {"an_answer_is_kept_with_its_call_until_a_state_lets_it_go"},
        LosesEmptyAnswers: {"an_answer_is_kept_with_its_call_until_a_state_lets_it_go"},
        KeepsAnswersToItself: {"an_answer_is_kept_with_its_call_until_a_state_lets_it_go"},
        KeepsAnswersInAStepOfTheirOwn: {
            "a_cancelled_append_is_there_with_its_answer_or_not_at_all",
            "a_state_has_its_place_among_the_appends",
        },
        KeepsAnAnswerBeforeItLooks: {"who_lost_the_session_saves_nothing"},
    }
}
