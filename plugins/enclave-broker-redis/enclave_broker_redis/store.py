"""Sessions, their events and histories on Redis or Valkey, for any number of processes."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from itertools import count
from time import monotonic

import anyio

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import (
    SessionEndedError,
    SessionExistsError,
    StoreError,
    TooManySessionsError,
)
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import Admission, Claim, SessionRecord, SessionState, Window
from enclave_broker_core.store_abilities import Holder, Saved

from .admissions import Admissions
from .claims import Claims
from .config import RedisConfig
from .encoding import FIELDS, calls_of, events_of, stored_session
from .engine import Engine, open_engine
from .following import Followings
from .inbox import Outbox
from .index import Index, Whose
from .keys import Keys
from .limiter import RedisLimiter
from .ops import Script
from .serving import Serving
from .writing import Writing, not_found

_log = logging.getLogger(__name__)

REMOVE = Script("remove")

# A refused caller that came back at once would only be refused again.
_SHORTEST_RETRY = 0.1


class RedisStore:
    """The SessionStore on Redis or Valkey; see ``store_abilities`` for what it can do besides.

    What has to be done in two steps, because a cluster has the lists of all sessions elsewhere
    than the session, is finished by ``sweep`` when the second step fails.
    """

    shared = True

    def __init__(self, engine: Engine, config: RedisConfig) -> None:
        self.engine = engine
        self.keys = Keys(config.prefix)
        replica = secrets.token_hex(6)
        outbox = Outbox(engine, self.keys)
        self.wakeups = Followings(engine, self.keys, outbox)
        self.writing = Writing(engine, self.keys, config, replica, self.wakeups)
        self.wakeups.attach(self.writing)
        self.index = Index(engine, self.keys, config.max_ended)
        self._claims = Claims(engine, self.keys, config, replica)
        self.serving = Serving(
            engine, self.keys, config, self.index, self.writing, self.wakeups, outbox
        )
        self.limiter = RedisLimiter(engine, config.prefix)
        self._admission = Admissions(engine, self.keys, config, self.writing, self.limiter)
        self.lease = config.lease
        self._grace = config.grace
        self._numbers = count()
        # Places that nobody has any more, and sessions whose end the lists do not know.
        self._vacant: dict[str, Whose] = {}
        self._unlisted: dict[str, tuple[str, float]] = {}

    async def create(
        self,
        record: SessionRecord,
        *,
        max_open: int | None = None,
        max_of_principal: int | None = None,
    ) -> None:
        replica = self.writing.replica
        whose = Whose.of(record, replica, f"{replica}.{next(self._numbers)}")
        placed, created = True, False
        try:
            reply = await self.index.reserve(record, whose, max_open, max_of_principal)
            placed = reply[0] == b"ok"
            if reply[0] in (b"principal", b"all"):
                raise _too_many(record, *reply)
            if reply[0] == b"dead":
                raise StoreError(
                    "this broker was taken for dead and is about to begin anew",
                    retry_after=self.lease,
                )
            created = placed and await self.writing.create(record, whose.creation)
            if not created:
                raise SessionExistsError(f"the session id {record.id!r} is taken")
        finally:
            if placed and not created:
                self._vacant[record.id] = whose
                with anyio.CancelScope(shield=True):
                    await self._vacate(record.id)

    async def get(self, session_id: str) -> SessionRecord | None:
        record = self.engine.do("GET", self.keys.of(session_id, "r"))
        fields = self.engine.do("HMGET", self.keys.of(session_id, "s"), *FIELDS)
        record_json, known = await record, await fields
        if record_json is None or known[0] is None:
            return None
        return stored_session(record_json, known)

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
        behind: float | None = 0.0
        if after is not None:
            behind = await self.index.number(after)
            if behind is None:
                raise not_found(after)
        found: list[SessionRecord] = []
        while behind is not None and len(found) < limit:
            wanted = limit - len(found)
            ids, behind = await self.index.page(principal_id, tenant, include_ended, wanted, behind)
            # Some may have gone or ended after the lists were looked at.
            found += [
                record
                for record in await self._records(ids)
                if record is not None and (include_ended or not record.state.ended)
            ]
        return found

    async def _records(self, ids: Sequence[str]) -> Sequence[SessionRecord | None]:
        found: list[SessionRecord | None] = [None] * len(ids)

        async def get(place: int, id: str) -> None:
            found[place] = await self.get(id)

        async with anyio.create_task_group() as tasks:
            for place, id in enumerate(ids):
                tasks.start_soon(get, place, id)
        return found

    async def append(
        self,
        session_id: str,
        event: Draft,
        call: CallRecord | None = None,
        *,
        answer: bytes | None = None,
    ) -> int:
        return await self.writing.append(session_id, event, call, answer)

    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        if not state.ended:
            raise ValueError(f"{state.value!r} is not the state of a session that has ended")
        token = self.writing.token(session_id)
        ended = True
        try:
            await self.writing.finish(session_id, final, state, at, self._claims.names(session_id))
        except SessionEndedError:
            # Maybe by this process, which was not told and has not done what follows.
            ended = False
            self.writing.let_go(session_id)
        with anyio.CancelScope(shield=True):
            known = await self.engine.do("HMGET", self.keys.of(session_id, "s"), "i", "at")
            if None not in known:
                self._unlisted[session_id] = known[0].decode(), float(known[1])
                try:
                    await self._conclude(session_id)
                except StoreError as problem:
                    _log.warning("the end of %s is listed later: %s", session_id, problem)
            if token is not None:
                await self.serving.commands.refuse(session_id, token)
        return ended

    async def _conclude(self, session_id: str) -> None:
        """Let the lists know that a session has ended."""
        if session_id not in self._unlisted:
            return
        creation, at = self._unlisted[session_id]
        whose = await self.index.whose(session_id)
        if whose is not None and whose.creation == creation:
            for over in await self.index.conclude(session_id, whose, at):
                await self._forget(over)
        self._unlisted.pop(session_id, None)

    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        _, ended, found = await self._look(session_id, from_seq, limit)
        if found or ended or not wait:
            return found
        until = monotonic() + wait
        async with self.wakeups.following(session_id) as bell:
            first: bytes | None = None
            while True:
                which, ended, found = await self._look(session_id, from_seq, limit)
                if first is not None and which != first:
                    # Another session has got the id meanwhile.
                    raise not_found(session_id)
                first = which
                rest = until - monotonic()
                if found or ended or rest <= 0:
                    return found
                await bell.wait(rest)

    async def _look(
        self, session_id: str, from_seq: int, limit: int
    ) -> tuple[bytes, bool, Sequence[Event]]:
        """Which session it is, whether it has ended, and its events from ``from_seq`` on."""
        # In this order: with the end of a session its final event is there.
        known = self.engine.do("HMGET", self.keys.of(session_id, "s"), "i", "st")
        log = self.keys.of(session_id, "e")
        entries = self.engine.do("XRANGE", log, max(0, from_seq), "+", "COUNT", limit)
        which, state = await known
        if which is None:
            raise not_found(session_id)
        return which, state is not None, events_of(session_id, await entries)

    async def history(self, session_id: str) -> Sequence[CallRecord]:
        known = self.engine.do("EXISTS", self.keys.of(session_id, "s"))
        entries = self.engine.do("XRANGE", self.keys.of(session_id, "h"), "-", "+")
        if not await known:
            raise not_found(session_id)
        return calls_of(await entries)

    async def claim(
        self,
        session_id: str,
        key: str,
        fingerprint: str,
        *,
        seconds: float,
        wait: float | None = None,
    ) -> Claim:
        return await self._claims.claim(session_id, key, fingerprint, seconds, wait)

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        await self._claims.settle(session_id, key, answer)

    async def release(self, session_id: str, key: str) -> None:
        await self._claims.release(session_id, key)

    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        await self.writing.save(session_id, state, keep)

    async def saved(self, session_id: str) -> Saved | None:
        return await self.writing.saved(session_id)

    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        return await self._admission.admit(session_id, event, windows)

    async def serve(self, holder: Holder) -> None:
        await self.serving.serve(holder, self.get)

    async def ask(self, session_id: str, body: bytes) -> bytes:
        return await self.serving.commands.ask(session_id, body)

    async def delete(self, session_id: str) -> bool:
        return await self._delete(session_id, await self.index.whose(session_id))

    async def _forget(self, session_id: str) -> bool:
        """Delete a session that has ended; not one that has got its id meanwhile."""
        whose = await self.index.whose(session_id)
        return whose is not None and await self._delete(session_id, whose, ended=True)

    async def _delete(self, session_id: str, whose: Whose | None, *, ended: bool = False) -> bool:
        names = [*self.writing.names(session_id), *self._claims.names(session_id)]
        which = [whose.creation] if ended and whose is not None else []
        removed = await self.engine.run(REMOVE, names, which).finished()
        if removed == -1:
            return False
        self.writing.let_go(session_id)
        listed = whose is not None and await self.index.forget(session_id, whose, ended=ended)
        if isinstance(removed, bytes):
            self.wakeups.tell(session_id, removed)
        self.wakeups.wake(session_id)
        self._claims.wake(session_id)
        return listed or removed != 0

    async def sweep(self, now: float) -> int:
        for session_id in list(self._vacant):
            await self._vacate(session_id)
        for session_id in list(self._unlisted):
            await self._conclude(session_id)
        swept = 0
        while due := await self.index.ended_before(now - self._grace):
            gone = sum([await self._forget(session_id) for session_id in due])
            swept += gone
            if not gone:
                break  # others are at it
        return swept

    async def check(self) -> None:
        await self.engine.check()

    async def _vacate(self, session_id: str) -> None:
        """Give back the place of a session that was not made, and see that it is not."""
        whose = self._vacant.get(session_id)
        if whose is None:
            return
        try:
            await self.writing.undo(session_id, whose.creation)
            await self.index.forget(session_id, whose)
        except StoreError as problem:
            _log.warning("the place of %s is given back later: %s", session_id, problem)
        else:
            self._vacant.pop(session_id, None)


@asynccontextmanager
async def open_store(config: RedisConfig, context: OpenContext) -> AsyncIterator[RedisStore]:
    async with open_engine(config) as engine:
        store = RedisStore(engine, config)
        await store.serving.leases.begin()
        try:
            yield store
        finally:
            with anyio.CancelScope(shield=True):
                await store.serving.leases.leave()


def _too_many(
    record: SessionRecord, bound: bytes, count: int, next_expiry: bytes
) -> TooManySessionsError:
    """The refusal of one more; it says when the next of those that are open expires."""
    whose = f" of {record.principal_id!r}" if bound == b"principal" else ""
    left = float(next_expiry) - time.time() if next_expiry else 0.0
    return TooManySessionsError(
        f"{count} sessions{whose} are open and no more may be",
        retry_after=max(_SHORTEST_RETRY, left),
    )
