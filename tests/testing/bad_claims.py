"""Stores whose claims have one fault each, which the suite must find."""

from __future__ import annotations

from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from enclave_broker_memory.claims import HeldClaim, SessionClaims
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core.errors import SessionEndedError, SessionNotFoundError
from enclave_broker_core.events import Draft
from enclave_broker_core.models import Claim, SessionState


class ClaimingStore(MemoryStore):
    """What the faults look at: the claims of a session, as the memory store holds them."""

    def held(self, session_id: str, key: str) -> HeldClaim | None:
        claims = self._get(session_id).claims
        return None if claims is None else claims._held.get(key)

    def forget(self, session_id: str, key: str) -> None:
        claims = self._get(session_id).claims
        if claims is not None and key in claims._held:
            claims._drop(key)


class LooksBeforeItClaims(ClaimingStore):
    """Two who look at the same time both find the key free."""

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        if self.held(session_id, key) is None:
            await checkpoint()
            self.forget(session_id, key)
        return await super().claim(session_id, key, fingerprint, **how)


class ForgetsTheFingerprint(ClaimingStore):
    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        return await super().claim(session_id, key, "", **how)


class AnswersAnyRequest(ClaimingStore):
    """Looks at the fingerprint only as long as the claim is pending."""

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        held = self.held(session_id, key)
        if held is not None and held.answer is not None:
            return Claim("settled", held.answer)
        return await super().claim(session_id, key, fingerprint, **how)


class RemembersTheFingerprintOfTheReleased(ClaimingStore):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._seen: dict[tuple[str, str], str] = {}

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        if self._seen.setdefault((session_id, key), fingerprint) != fingerprint:
            return Claim("conflict")
        return await super().claim(session_id, key, fingerprint, **how)


class WaitsBeforeItTellsOfAConflict(ClaimingStore):
    async def claim(
        self, session_id: str, key: str, fingerprint: str, *, wait: float | None = None, **how: Any
    ) -> Claim:
        found = await super().claim(session_id, key, fingerprint, wait=wait, **how)
        if found.state == "conflict" and wait:
            await anyio.sleep(wait)
        return found


class WakesAllWithNew(ClaimingStore):
    """All who wait for a key that is released get it."""

    async def claim(
        self, session_id: str, key: str, fingerprint: str, *, wait: float | None = None, **how: Any
    ) -> Claim:
        found = await super().claim(session_id, key, fingerprint, **how)
        held = self.held(session_id, key)
        if found.state != "pending" or not wait or held is None:
            return found
        await held.wait(wait)
        if held.answer is None and self.held(session_id, key) is not held:
            self.forget(session_id, key)
        return await super().claim(session_id, key, fingerprint, **how)


class SendsTheRestAway(ClaimingStore):
    """Those who do not get a released key are not let wait any longer."""

    async def claim(
        self, session_id: str, key: str, fingerprint: str, *, wait: float | None = None, **how: Any
    ) -> Claim:
        found = await super().claim(session_id, key, fingerprint, **how)
        held = self.held(session_id, key)
        if found.state == "pending" and wait and held is not None:
            await held.wait(min(wait, held.expires_at - self._timer()))
            return await super().claim(session_id, key, fingerprint, **how)
        return found


class HandsOverToWhoHasGone(ClaimingStore):
    """Those who wait stand in a line, and who is cancelled stays in it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._lines: dict[tuple[str, str], list[anyio.Event]] = {}

    async def claim(
        self, session_id: str, key: str, fingerprint: str, *, wait: float | None = None, **how: Any
    ) -> Claim:
        found = await super().claim(session_id, key, fingerprint, **how)
        if found.state != "pending" or not wait:
            return found
        turn = anyio.Event()
        self._lines.setdefault((session_id, key), []).append(turn)
        with anyio.move_on_after(wait):
            await turn.wait()
            held = self.held(session_id, key)
            if held is not None and held.answer is not None:
                return Claim("settled", held.answer)
            return Claim("new")
        return Claim("pending")

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        await super().settle(session_id, key, answer)
        for turn in self._lines.pop((session_id, key), []):
            turn.set()

    async def release(self, session_id: str, key: str) -> None:
        line = self._lines.get((session_id, key))
        if not line:
            await super().release(session_id, key)
        else:
            line.pop(0).set()


class TakesTheKeyForTheCancelled(ClaimingStore):
    """A claim that was made is not given back when nobody hears of it."""

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        found = await super().claim(session_id, key, fingerprint, **how)
        await checkpoint()
        return found


class TakesAReleasedKeyForTheCancelled(ClaimingStore):
    async def claim(
        self, session_id: str, key: str, fingerprint: str, *, wait: float | None = None, **how: Any
    ) -> Claim:
        found = await super().claim(session_id, key, fingerprint, wait=wait, **how)
        if wait:
            await checkpoint()
        return found


class KeepsNoAnswer(ClaimingStore):
    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        await self.release(session_id, key)


class GivesAnAnswerOnce(ClaimingStore):
    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        found = await super().claim(session_id, key, fingerprint, **how)
        if found.state == "settled":
            self.forget(session_id, key)
        return found


class GivesMemoryviews(ClaimingStore):
    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        view: Any = memoryview(answer)
        await super().settle(session_id, key, view)


class TakesAnEmptyAnswerForNone(ClaimingStore):
    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        if answer:
            await super().settle(session_id, key, answer)


class WakesNobodyWithTheAnswer(ClaimingStore):
    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        held = self.held(session_id, key)
        waiting = None
        if held is not None:
            waiting, held.over = held.over, None
        await super().settle(session_id, key, answer)
        if held is not None:
            held.over = waiting


class WakesNobodyOnRelease(ClaimingStore):
    async def release(self, session_id: str, key: str) -> None:
        held = self.held(session_id, key)
        if held is not None and held.answer is None:
            held.over = None
        await super().release(session_id, key)


class KeepsTheLastAnswer(ClaimingStore):
    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        held = self._sessions.get(session_id) and self.held(session_id, key)
        if held and held.answer is not None:
            held.answer = answer
        await super().settle(session_id, key, answer)


class ReleasesTheSettled(ClaimingStore):
    async def release(self, session_id: str, key: str) -> None:
        if session_id in self._sessions:
            self.forget(session_id, key)


class SettlesWhatNobodyClaimed(ClaimingStore):
    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        if session_id in self._sessions and self.held(session_id, key) is None:
            await self.claim(session_id, key, "f", seconds=3600)
        await super().settle(session_id, key, answer)


class SettlesOnlyWhatItKnows(ClaimingStore):
    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        self._get(session_id)
        await super().settle(session_id, key, answer)


class ClaimsForAllSessions(ClaimingStore):
    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        session = self._get(session_id)
        if session.claims is None:
            session.claims = next((one for one in self._claiming.values()), None)
            if session.claims is not None:
                self._claiming[session_id] = session.claims
        return await super().claim(session_id, key, fingerprint, **how)


class ClaimsInAnySession(ClaimingStore):
    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        if session_id not in self._sessions:
            return Claim("new")
        return await super().claim(session_id, key, fingerprint, **how)


class IgnoresCase(ClaimingStore):
    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        return await super().claim(session_id, key.lower(), fingerprint, **how)


class ExtendsTheTime(ClaimingStore):
    """Each claim of a key sets its time anew."""

    async def claim(
        self, session_id: str, key: str, fingerprint: str, *, seconds: float, **how: Any
    ) -> Claim:
        self._get(session_id)
        held = self.held(session_id, key)
        if held is not None:
            claims = self._get(session_id).claims
            assert claims is not None
            claims._due.remove(held.expires_at, key)
            held.expires_at = self._timer() + seconds
            claims._due.add(held.expires_at, key)
        return await super().claim(session_id, key, fingerprint, seconds=seconds, **how)


class KeepsAnswersForEver(ClaimingStore):
    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        await super().settle(session_id, key, answer)
        session = self._sessions.get(session_id)
        held = None if session is None else self.held(session_id, key)
        if held is not None and session is not None and session.claims is not None:
            session.claims._due.remove(held.expires_at, key)
            held.expires_at = float("inf")
            session.claims._due.add(held.expires_at, key)


class KeepsClaimsForEver(ClaimingStore):
    async def claim(
        self, session_id: str, key: str, fingerprint: str, *, seconds: float, **how: Any
    ) -> Claim:
        return await super().claim(session_id, key, fingerprint, seconds=1e9, **how)


class WaitsBeyondTheTime(ClaimingStore):
    """Who waits learns nothing of the time of the claim ending."""

    async def claim(
        self, session_id: str, key: str, fingerprint: str, *, wait: float | None = None, **how: Any
    ) -> Claim:
        found = await super().claim(session_id, key, fingerprint, **how)
        while found.state == "pending" and wait:
            held = self.held(session_id, key)
            assert held is not None
            await held.wait(wait)
            found = await super().claim(session_id, key, fingerprint, **how)
        return found


class ForgetsClaimsWhenItEnds(ClaimingStore):
    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        ended = await super().end(session_id, final, state, at)
        session = self._sessions.get(session_id)
        if session is not None and session.claims is not None:
            session.claims.wake_all()
            session.claims = None
        return ended


class ClaimsOnlyWhileItRuns(ClaimingStore):
    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        if self._get(session_id).ended_at is not None:
            raise SessionEndedError("the session has ended")
        return await super().claim(session_id, key, fingerprint, **how)


class KeepsClaimsOfDeleted(ClaimingStore):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._kept: dict[str, SessionClaims] = {}

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        session = self._get(session_id)
        if session.claims is None and session_id in self._kept:
            session.claims = self._claiming[session_id] = self._kept[session_id]
        try:
            return await super().claim(session_id, key, fingerprint, **how)
        finally:
            if session.claims is not None:
                self._kept[session_id] = session.claims


class ForgetsClaimantsOfDeleted(ClaimingStore):
    async def delete(self, session_id: str) -> bool:
        session = self._sessions.get(session_id)
        if session is not None and session.claims is not None:
            for held in session.claims._held.values():
                held.over = None
        return await super().delete(session_id)


class LetsClaimantsPassToTheNext(ClaimingStore):
    """Who waits goes on in the next session of the same id."""

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        try:
            return await super().claim(session_id, key, fingerprint, **how)
        except SessionNotFoundError:
            return await super().claim(session_id, key, fingerprint, **how)


class LetsThePendingGo(ClaimingStore):
    """Over its bound the oldest leaves, also when it is pending."""

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        claims = self._get(session_id).claims
        if claims is not None and key not in claims._held and len(claims) >= self._max_claims:
            claims._drop(next(iter(claims._held)))
        return await super().claim(session_id, key, fingerprint, **how)


class RefusesWhenItIsFull(ClaimingStore):
    """What is settled makes no room."""

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        await super().settle(session_id, key, answer)
        session = self._sessions.get(session_id)
        if session is not None and session.claims is not None:
            session.claims._settled.clear()


class CountsForAllSessions(ClaimingStore):
    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        found = await super().claim(session_id, key, fingerprint, **how)
        for claims in self._claiming.values():
            claims._most = self._max_claims - sum(map(len, self._claiming.values())) + len(claims)
        return found


FAULTS: dict[type[MemoryStore], str] = {
    LooksBeforeItClaims: "one_of_many_at_once_is_new",
    ForgetsTheFingerprint: "another_fingerprint_is_a_conflict_at_once",
    AnswersAnyRequest: "another_fingerprint_is_a_conflict_at_once",
    RemembersTheFingerprintOfTheReleased: "a_released_key_is_free_for_any_request",
    WaitsBeforeItTellsOfAConflict: "another_fingerprint_is_a_conflict_at_once",
    WakesAllWithNew: "a_released_key_goes_to_one_of_those_who_wait",
    SendsTheRestAway: "a_released_key_goes_to_one_of_those_who_wait",
    HandsOverToWhoHasGone: "a_cancelled_waiter_leaves_no_trace",
    TakesTheKeyForTheCancelled: "who_is_cancelled_leaves_no_claim",
    TakesAReleasedKeyForTheCancelled: "who_is_cancelled_as_the_key_is_released_does_not_keep_it",
    KeepsNoAnswer: "what_is_settled_gives_its_answer_each_time",
    GivesAnAnswerOnce: "what_is_settled_gives_its_answer_each_time",
    GivesMemoryviews: "what_is_settled_gives_its_answer_each_time",
    TakesAnEmptyAnswerForNone: "what_is_settled_gives_its_answer_each_time",
    WakesNobodyWithTheAnswer: "all_who_wait_get_the_answer",
    WakesNobodyOnRelease: "a_released_key_goes_to_one_of_those_who_wait",
    KeepsTheLastAnswer: "the_first_answer_stays",
    ReleasesTheSettled: "the_first_answer_stays",
    SettlesWhatNobodyClaimed: "what_was_not_claimed_is_neither_settled_nor_released",
    SettlesOnlyWhatItKnows: "what_was_not_claimed_is_neither_settled_nor_released",
    ClaimsForAllSessions: "a_key_is_one_of_its_session",
    ClaimsInAnySession: "an_unknown_session_has_no_claims",
    IgnoresCase: "a_key_is_one_of_its_session",
    ExtendsTheTime: "an_answer_is_kept_until_the_time_of_its_claim_ends",
    KeepsAnswersForEver: "an_answer_is_kept_until_the_time_of_its_claim_ends",
    KeepsClaimsForEver: "a_key_is_in_use_for_its_time_however_often_it_is_claimed",
    WaitsBeyondTheTime: "a_key_whose_time_ends_goes_to_one_of_those_who_wait",
    ForgetsClaimsWhenItEnds: "an_ended_session_has_claims_too",
    ClaimsOnlyWhileItRuns: "an_ended_session_has_claims_too",
    KeepsClaimsOfDeleted: "the_claims_go_with_their_session",
    ForgetsClaimantsOfDeleted: "the_claims_go_with_their_session",
    LetsClaimantsPassToTheNext: "the_claims_go_with_their_session",
    LetsThePendingGo: "a_full_session_lets_go_what_was_settled_first",
    RefusesWhenItIsFull: "a_full_session_lets_go_what_was_settled_first",
    CountsForAllSessions: "a_full_session_lets_go_what_was_settled_first",
}
