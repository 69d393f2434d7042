"""Sessions, their events and histories in the memory of one process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import anyio

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import (
    SessionEndedError,
    SessionExistsError,
    SessionNotFoundError,
    TooManySessionsError,
)
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.guard import Guarded, LateError, guard_class
from enclave_broker_core.models import Claim, SessionRecord, SessionState

from .claims import HeldClaim, SessionClaims
from .config import MemoryStoreConfig
from .open_sessions import OpenSessions
from .order import CreationOrder
from .session import StoredSession
from .timeline import Timeline

# A refused caller that came back at once would only be refused again.
_SHORTEST_RETRY = 0.1


class MemoryStore:
    """The SessionStore in this process. Only ``read`` and ``claim`` ever wait.

    Events and calls are kept as they are, for nobody changes them; records are copied.
    ``clock`` is in seconds since the epoch, as the times in the records are, and ``timer`` in
    seconds that nobody sets back: by it keys are in use. One event loop uses the store;
    nothing here is for several threads at once.
    """

    def __init__(
        self,
        config: MemoryStoreConfig | None = None,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        config = config or MemoryStoreConfig()
        self._clock = clock
        self._timer = timer
        self._max_events = config.max_events
        self._max_event_bytes = config.max_event_bytes
        self._max_calls = config.max_calls
        self._max_call_bytes = config.max_call_bytes
        self._max_claims = config.max_claims
        self._max_claim_bytes = config.max_claim_bytes
        self._grace = config.grace
        self._max_ended = config.max_ended
        self._sessions: dict[str, StoredSession] = {}
        self._created = 0
        self._order = CreationOrder(remembered=config.max_ended)
        self._open = OpenSessions()
        self._ended = Timeline()
        self._claiming: dict[str, SessionClaims] = {}

    async def create(
        self,
        record: SessionRecord,
        *,
        max_open: int | None = None,
        max_of_principal: int | None = None,
    ) -> None:
        if record.id in self._sessions:
            raise SessionExistsError(f"the session id {record.id!r} is taken")
        principal = record.principal
        if principal is not None and max_of_principal is not None:
            own = self._open.of(principal.id, principal.tenant)
            if len(own) >= max_of_principal:
                raise self._too_many(f" of {principal.id!r}", own, max_of_principal)
        if max_open is not None and len(self._open.all) >= max_open:
            raise self._too_many("", self._open.all, max_open)
        self._created += 1
        session = StoredSession(record, self._created)
        self._sessions[record.id] = session
        self._order.add(session)
        self._open.add(session)

    async def get(self, session_id: str) -> SessionRecord | None:
        session = self._sessions.get(session_id)
        return None if session is None else session.record()

    async def list(
        self,
        *,
        principal_id: str | None = None,
        tenant: str | None = None,
        include_ended: bool = False,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[SessionRecord]:
        """``after`` may have been deleted meanwhile; one never heard of is not found."""
        found: list[SessionRecord] = []
        for session in self._order.after(self._number(after)):
            if len(found) >= limit:
                break
            if (
                (include_ended or session.ended_at is None)
                and (principal_id is None or session.principal_id == principal_id)
                and (tenant is None or session.tenant == tenant)
            ):
                found.append(session.record())
        return found

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        session = self._sessions.get(session_id)
        if session is None:
            raise _not_found(session_id)
        if session.ended_at is not None:
            raise SessionEndedError(f"the session {session_id!r} has ended")
        events = session.events
        events.append(event)
        session.event_bytes += len(event[1])
        if len(events) > self._max_events or session.event_bytes > self._max_event_bytes:
            session.trim_events(self._max_events, self._max_event_bytes)
        if call is not None:
            calls = session.calls
            calls.append(call)
            session.tool_calls += 1
            session.call_bytes += len(call[2])
            if len(calls) > self._max_calls or session.call_bytes > self._max_call_bytes:
                session.trim_calls(self._max_calls, self._max_call_bytes)
        session.last_seq = seq = session.last_seq + 1
        if session.changed is not None:
            session.wake()
        return seq

    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        session = self._get(session_id)
        if session.ended_at is not None:
            return False
        if not state.ended:
            raise ValueError(f"{state.value!r} is not the state of a session that has ended")
        # This wakes the readers too, who run when all of it is done.
        await self.append(session_id, final)
        session.end(state, at)
        self._open.remove(session)
        self._ended.add(at, session_id)
        if len(self._ended) > self._max_ended:
            await self.delete(self._ended.first()[1])
        return True

    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        session = self._get(session_id)
        found = session.read(from_seq, limit)
        if found or session.ended_at is not None or not wait:
            return found
        with suppress(LateError):
            found = await guard_class()(self._next(session, from_seq, limit), Guarded(), wait)
        return found

    async def _next(self, session: StoredSession, from_seq: int, limit: int) -> Sequence[Event]:
        """What is there as soon as there is anything; nothing when the session ends first."""
        found: Sequence[Event] = ()
        while not found and session.ended_at is None:
            await session.wait()
            # Another session may have got the id meanwhile.
            if self._sessions.get(session.id) is not session:
                raise _not_found(session.id)
            found = session.read(from_seq, limit)
        return found

    async def history(self, session_id: str) -> Sequence[CallRecord]:
        return list(self._get(session_id).calls)

    async def claim(
        self,
        session_id: str,
        key: str,
        fingerprint: str,
        *,
        seconds: float,
        wait: float | None = None,
    ) -> Claim:
        session = self._get(session_id)
        claims = session.claims
        if claims is None:
            session.claims = claims = SessionClaims(self._max_claims, self._max_claim_bytes)
            self._claiming[session_id] = claims
        found = claims.take(key, fingerprint, self._timer(), seconds)
        if isinstance(found, HeldClaim) and wait:
            with anyio.move_on_after(wait):
                while isinstance(found, HeldClaim):
                    await found.wait(found.expires_at - self._timer())
                    # Another session may have got the id meanwhile.
                    if self._sessions.get(session_id) is not session:
                        raise _not_found(session_id)
                    # It may have left already, to make room for others.
                    if found.answer is not None:
                        return Claim("settled", found.answer)
                    found = claims.take(key, fingerprint, self._timer(), seconds)
        return Claim("pending") if isinstance(found, HeldClaim) else found

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        session = self._sessions.get(session_id)
        if session is not None and session.claims is not None:
            session.claims.settle(key, answer, self._timer())

    async def release(self, session_id: str, key: str) -> None:
        session = self._sessions.get(session_id)
        if session is not None and session.claims is not None:
            session.claims.release(key)

    async def delete(self, session_id: str) -> bool:
        session = self._sessions.pop(session_id, None)
        if session is None:
            return False
        self._order.remove(session)
        if session.ended_at is None:
            self._open.remove(session)
        else:
            self._ended.remove(session.ended_at, session_id)
        session.wake()
        if session.claims is not None:
            del self._claiming[session_id]
            session.claims.wake_all()
        return True

    async def sweep(self, now: float) -> int:
        due = self._ended.before(now - self._grace)
        for session_id in due:
            await self.delete(session_id)
        for claims in self._claiming.values():
            claims.expire(self._timer())
        return len(due)

    async def check(self) -> None:
        """There is nothing that could be out of reach."""

    def _get(self, session_id: str) -> StoredSession:
        session = self._sessions.get(session_id)
        if session is None:
            raise _not_found(session_id)
        return session

    def _number(self, after: str | None) -> int:
        """The number of the session ``after``, also when it has been deleted; 0 for None."""
        if after is None:
            return 0
        session = self._sessions.get(after)
        number = self._order.number_of_deleted(after) if session is None else session.number
        if number is None:
            raise _not_found(after)
        return number

    def _too_many(self, whose: str, open: Timeline, most: int) -> TooManySessionsError:
        """The refusal of one more; it says when the next of those that are open expires."""
        return TooManySessionsError(
            f"{len(open)} sessions{whose} are open and at most {most} may be",
            retry_after=self._next_expiry(open),
        )

    def _next_expiry(self, open: Timeline) -> float:
        if not open:
            return _SHORTEST_RETRY
        return max(_SHORTEST_RETRY, open.first()[0] - self._clock())


@asynccontextmanager
async def open_store(config: MemoryStoreConfig, context: OpenContext) -> AsyncIterator[MemoryStore]:
    yield MemoryStore(config)


def _not_found(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"there is no session {session_id!r}")
