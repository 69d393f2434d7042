"""Stores with one fault each in who gets a key and when, which the suite must find."""

from __future__ import annotations

from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from bad_claims import ClaimingStore
from enclave_broker_memory.claims import SessionClaims

from enclave_broker_core.errors import SessionEndedError, SessionNotFoundError
from enclave_broker_core.events import Draft
from enclave_broker_core.models import Claim, SessionState
from enclave_broker_core.testing.session_claimants import SessionClaimantSuite


class LooksBeforeItClaims(ClaimingStore):
    """Two who look at the same time both find the key free."""

    async def claim(self, session_id: str, key: str, fingerprint: str, **how: Any) -> Claim:
        if self.held(session_id, key) is None:
            await checkpoint()
            self.forget(session_id, key)
        return await super().claim(session_id, key, fingerprint, **how)


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
    """Those who wait stand in a line, and who goes stays in it."""

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


class TakesAReleasedKeyForNobody(ClaimingStore):
    async def claim(
        self, session_id: str, key: str, fingerprint: str, *, wait: float | None = None, **how: Any
    ) -> Claim:
        found = await super().claim(session_id, key, fingerprint, wait=wait, **how)
        if wait:
            await checkpoint()
        return found


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


KNOWN_BAD = {
    SessionClaimantSuite: {
        LooksBeforeItClaims: {
            "one_of_many_at_once_is_new",
            "what_is_done_under_a_key_is_done_by_one_at_a_time",
        },
        WakesAllWithNew: {"a_released_key_goes_to_one_of_those_who_wait"},
        SendsTheRestAway: {"a_released_key_goes_to_one_of_those_who_wait"},
        HandsOverToWhoHasGone: {
            "a_cancelled_waiter_leaves_no_trace",
            "a_wait_that_is_over_leaves_no_trace",
        },
        TakesTheKeyForTheCancelled: {"who_is_cancelled_leaves_no_claim"},
        TakesAReleasedKeyForNobody: {"who_is_cancelled_as_the_key_is_released_does_not_keep_it"},
        WakesNobodyWithTheAnswer: {"all_who_wait_get_the_answer"},
        WakesNobodyOnRelease: {"a_released_key_goes_to_one_of_those_who_wait"},
        WaitsBeyondTheTime: {"a_key_whose_time_ends_goes_to_one_of_those_who_wait"},
        ForgetsClaimsWhenItEnds: {"an_ended_session_has_claims_too"},
        ClaimsOnlyWhileItRuns: {"an_ended_session_has_claims_too"},
        KeepsClaimsOfDeleted: {"the_claims_go_with_their_session"},
        ForgetsClaimantsOfDeleted: {"the_claims_go_with_their_session"},
        LetsClaimantsPassToTheNext: {"the_claims_go_with_their_session"},
    }
}
