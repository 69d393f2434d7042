"""Stores whose claims have one fault each, which the suite must find."""

from __future__ import annotations

from typing import Any

import anyio
from enclave_broker_memory.claims import HeldClaim
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core.models import Claim
from enclave_broker_core.testing.session_claims import SessionClaimSuite


class ClaimingStore(MemoryStore):
    """What the faults look at: the claims of a session, as the memory store holds them."""

    def held(self, session_id: str, key: str) -> HeldClaim | None:
        claims = self._get(session_id).claims
        return None if claims is None else claims._held.get(key)

    def forget(self, session_id: str, key: str) -> None:
        claims = self._get(session_id).claims
        if claims is not None and key in claims._held:
            claims._drop(key)


class ForgetsTheFingerprint(ClaimingStore):
    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        return await super().claim(session_id, key, "", **how)


class LetsAllBegin(ClaimingStore):
    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        found = await super().claim(session_id, key, fingerprint, **how)
        return Claim("new") if found.state == "pending" else found


class HoldsTwoKeys(ClaimingStore):
    """Forgets one that is in use for another."""

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        claims = self._get(session_id).claims
        if claims is not None and len(claims) > 1 and key not in claims._held:
            self.forget(session_id, next(iter(claims._held)))
        return await super().claim(session_id, key, fingerprint, **how)


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


KNOWN_BAD = {
    SessionClaimSuite: {
        LetsAllBegin: {"the_first_claim_is_new_and_the_others_are_pending"},
        HoldsTwoKeys: {"claims_are_as_a_model_of_them"},
        ForgetsTheFingerprint: {"another_fingerprint_is_a_conflict_at_once"},
        AnswersAnyRequest: {"another_fingerprint_is_a_conflict_at_once"},
        RemembersTheFingerprintOfTheReleased: {"a_released_key_is_free_for_any_request"},
        WaitsBeforeItTellsOfAConflict: {"another_fingerprint_is_a_conflict_at_once"},
        KeepsNoAnswer: {"what_is_settled_gives_its_answer_each_time"},
        GivesAnAnswerOnce: {"what_is_settled_gives_its_answer_each_time"},
        GivesMemoryviews: {"what_is_settled_gives_its_answer_each_time"},
        TakesAnEmptyAnswerForNone: {"what_is_settled_gives_its_answer_each_time"},
        KeepsTheLastAnswer: {"the_first_answer_stays"},
        ReleasesTheSettled: {"the_first_answer_stays"},
        SettlesWhatNobodyClaimed: {"what_was_not_claimed_is_neither_settled_nor_released"},
        SettlesOnlyWhatItKnows: {"what_was_not_claimed_is_neither_settled_nor_released"},
        ClaimsForAllSessions: {"a_key_is_one_of_its_session"},
        ClaimsInAnySession: {"an_unknown_session_has_no_claims"},
        IgnoresCase: {"a_key_is_one_of_its_session"},
        ExtendsTheTime: {"an_answer_is_kept_until_the_time_of_its_claim_ends"},
        KeepsAnswersForEver: {"an_answer_is_kept_until_the_time_of_its_claim_ends"},
        KeepsClaimsForEver: {"a_key_is_in_use_for_its_time_however_often_it_is_claimed"},
        LetsThePendingGo: {"a_full_session_lets_go_what_was_settled_first"},
        RefusesWhenItIsFull: {"a_full_session_lets_go_what_was_settled_first"},
        CountsForAllSessions: {"a_full_session_lets_go_what_was_settled_first"},
    }
}
