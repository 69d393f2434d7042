"""Sessions, their logs, histories and claims in plain dicts of one process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

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
from enclave_broker_core.models import Claim, SessionRecord, SessionState
from enclave_broker_core.session_store import SessionStore

from .claims import Claims
from .config import StoreConfig
from .session import StoredSession

# Who is refused and came back at once would only be refused again.
SHORTEST_RETRY = 0.1


class DictStore:
    """A SessionStore. Only ``read`` and ``claim`` ever wait, so that all else is done at once.

    What is kept elsewhere has to shield its writing from cancellation, and to take the same
    event once when it is given again. ``clock`` is in seconds since the epoch, as the times of
    the records are; ``timer`` in seconds that are never set back: by it keys are in use.
    """

    def __init__(
        self,
        config: StoreConfig,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._clock = clock
        self._timer = timer
        self._created = 0
        # All in the order of creation, and those that have not ended.
        self._sessions: dict[str, StoredSession] = {}
        self._open: dict[str, StoredSession] = {}
        # In the order of their ends.
        self._ended: dict[str, float] = {}
        # The numbers of the latest ones: who lists page by page may hold such an id.
        self._deleted: dict[str, int] = {}

    async def create(
        self,
        record: SessionRecord,
        *,
        max_open: int | None = None,
        max_of_principal: int | None = None,
    ) -> None:
        if record.id in self._sessions:
            raise SessionExistsError(f"the session id {record.id!r} is taken")
        self._created += 1
        claims = Claims(self._config.max_claims, self._timer)
        session = StoredSession(record, self._created, self._config, claims)
        owner = session.owner
        if owner is not None and max_of_principal is not None:
            own = [other for other in self._open.values() if other.owner == owner]
            self._require_room(own, max_of_principal, f" of {owner[0]!r}")
        if max_open is not None:
            self._require_room(self._open.values(), max_open, "")
        self._deleted.pop(record.id, None)
        self._sessions[record.id] = self._open[record.id] = session

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
        number = 0 if after is None else self._number(after)
        found: list[SessionRecord] = []
        for session in self._sessions.values() if include_ended else self._open.values():
            if len(found) >= limit:
                break
            own_id, own_tenant = session.owner or (None, None)
            if (
                session.number > number
                and (principal_id is None or principal_id == own_id)
                and (tenant is None or tenant == own_tenant)
            ):
                found.append(session.record())
        return found

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        session = self._get(session_id)
        if session.ended_at is not None:
            raise SessionEndedError(f"the session {session_id!r} has ended")
        return session.append(event, call)

    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        session = self._get(session_id)
        if session.ended_at is not None:
            return False
        if not state.ended:
            raise ValueError(f"{state.value!r} is not the state of a session that has ended")
        session.append(final)
        session.end(state, at)
        del self._open[session_id]
        self._ended[session_id] = at
        if len(self._ended) > self._config.max_ended:
            await self.delete(next(iter(self._ended)))
        return True

    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        session = self._get(session_id)
        found = session.read(from_seq, limit)
        if wait:
            with anyio.move_on_after(wait):
                while not found and session.ended_at is None:
                    await session.wait()
                    self._require_still(session_id, session)
                    found = session.read(from_seq, limit)
        return found

    async def history(self, session_id: str) -> Sequence[CallRecord]:
        return tuple(self._get(session_id).calls)

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
        claim = session.claims.take(key, fingerprint, seconds)
        if wait:
            with anyio.move_on_after(wait):
                while claim.state == "pending":
                    await session.wait(session.claims.left(key))
                    self._require_still(session_id, session)
                    claim = session.claims.take(key, fingerprint, seconds)
        return claim

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            session.claims.settle(key, answer)
            session.wake()

    async def release(self, session_id: str, key: str) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            session.claims.release(key)
            session.wake()

    async def delete(self, session_id: str) -> bool:
        session = self._sessions.pop(session_id, None)
        if session is None:
            return False
        self._open.pop(session_id, None)
        self._ended.pop(session_id, None)
        self._deleted[session_id] = session.number
        if len(self._deleted) > self._config.max_ended:
            del self._deleted[next(iter(self._deleted))]
        session.wake()
        return True

    async def sweep(self, now: float) -> int:
        due = [id for id, at in self._ended.items() if at < now - self._config.grace]
        for session_id in due:
            await self.delete(session_id)
        for session in self._sessions.values():
            session.claims.expire()
        return len(due)

    async def check(self) -> None:
        """There is nothing that could be out of reach."""

    def _get(self, session_id: str) -> StoredSession:
        session = self._sessions.get(session_id)
        if session is None:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return session

    def _require_still(self, session_id: str, session: StoredSession) -> None:
        """Another session may have got the id while somebody waited."""
        if self._sessions.get(session_id) is not session:
            raise SessionNotFoundError(f"the session {session_id!r} has been deleted")

    def _number(self, session_id: str) -> int:
        if session_id in self._deleted:
            return self._deleted[session_id]
        return self._get(session_id).number

    def _require_room(self, open: Iterable[StoredSession], most: int, whose: str) -> None:
        """TooManySessionsError, with the time until the first of those that are open expires."""
        expiries = [session.expires_at for session in open]
        if len(expiries) >= most:
            first = min(expiries, default=0.0) - self._clock()
            raise TooManySessionsError(
                f"{len(expiries)} sessions{whose} are open and at most {most} may be",
                retry_after=max(SHORTEST_RETRY, first),
            )


@asynccontextmanager
async def open_store(config: StoreConfig, context: OpenContext) -> AsyncIterator[SessionStore]:
    yield DictStore(config)
