"""Stores that bound how many sessions are open with one fault each, which the suite must find."""

from __future__ import annotations

from anyio.lowlevel import checkpoint
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core.errors import TooManySessionsError
from enclave_broker_core.models import SessionRecord


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


FAULTS: dict[type[MemoryStore], str] = {
    LetsOneTooManyIn: "max_open_counts_the_sessions_that_have_not_ended",
    CountsBeforeItWaits: "max_open_holds_when_many_create_at_once",
    GuessesWhenToRetry: "a_refusal_says_when_the_next_session_expires",
    SaysToRetryInThePast: "a_refusal_never_says_to_come_back_in_the_past",
}
