"""Sessions, their events and histories in a file that survives the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Any

import anyio
from pydantic_core import to_json

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import SessionLostError
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import Admission, Claim, SessionRecord, SessionState, Window
from enclave_broker_core.store_abilities import Holder, Saved

from . import reading
from .config import SqliteConfig
from .file import SqliteFile, open_file
from .holding import Taking
from .keys import Keys, claims_of
from .limiter import SqliteLimiter
from .log import StoredCall, not_found
from .sessions import NewSession
from .unheard import Unheard
from .waiting import Then


class SqliteStore:
    """The SessionStore in one file; see ``store_abilities`` for what it can do besides.

    What an append or any other write acknowledges is committed. ``lease`` is the pause, in
    seconds, between tries to take a session up; nobody is ever believed to have died, as the
    file belongs to one process.
    """

    def __init__(self, file: SqliteFile, lease: float = 1.0) -> None:
        self._file = file
        self._log = file.ledger.log
        self._writer = file.writer
        self._read = file.reader.run
        self._holders = file.holders
        self._wakeups = file.wakeups
        self._keys = Keys(file)
        self._unheard = Unheard()
        self._holder: Holder | None = None
        self.lease = lease
        self.limiter = SqliteLimiter(file)

    async def create(
        self,
        record: SessionRecord,
        *,
        max_open: int | None = None,
        max_of_principal: int | None = None,
    ) -> None:
        sessions = self._file.ledger.sessions
        act = partial(sessions.create, NewSession.of(record), max_open, max_of_principal)
        op = self._writer.ask(act, then=lambda _: self._holders.hold(record.id, self))
        try:
            with self._holders.creating(record.id):
                await self._writer.answer(op)
        except anyio.get_cancelled_exc_class():
            if op.problem is None:
                # Nobody knows of it, so nobody would end it.
                with anyio.CancelScope(shield=True):
                    await self.delete(record.id)
            raise

    async def get(self, session_id: str) -> SessionRecord | None:
        return await self._read(reading.get, session_id)

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
        wanted = (principal_id, tenant, include_ended, limit, after)
        return await self._read(reading.list_, *wanted)

    async def append(
        self,
        session_id: str,
        event: Draft,
        call: CallRecord | None = None,
        *,
        answer: bytes | None = None,
    ) -> int:
        written = self._unheard.seq(event)
        if written is not None:
            return written
        held = self._holders.of(session_id) is self
        act: Callable[[], int]
        if call is None:
            act = partial(self._log.append, session_id, held, event)
        elif answer is None:
            act = partial(self._log.append, session_id, held, event, _stored(call))
        else:
            kept = (_stored(call), call.call_id, answer)
            act = partial(self._file.ledger.runs.append, session_id, held, event, *kept)
        # This and its like in `admit` are `_write`, with fewer steps to each event.
        op = self._writer.ask(act, session_id)
        try:
            seq: int = await self._writer.answer(op)
        except SessionLostError:
            self._lost(session_id)
            raise
        except anyio.get_cancelled_exc_class():
            if op.problem is None:
                self._unheard.add(event, op.result)
            raise
        return seq

    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        held = self._holders.of(session_id) is self
        act = partial(self._file.ledger.admit, session_id, held, event, windows)
        op = self._writer.ask(act, session_id)
        try:
            answer: tuple[int, Admission] = await self._writer.answer(op)
        except SessionLostError:
            self._lost(session_id)
            raise
        except anyio.get_cancelled_exc_class():
            if op.problem is None:
                self._unheard.add(event, op.result[0])
            raise
        return answer[1]

    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        if not state.ended:
            raise ValueError(f"{state.value!r} is not the state of a session that has ended")
        held = self._holders.of(session_id) is self
        sessions = self._file.ledger.sessions

        def ended(left: Sequence[str] | None) -> None:
            if left is not None:
                self._gone([session_id, *left])

        act = partial(sessions.end, session_id, held, final, state.value, at)
        return await self._write(session_id, act, ended) is not None

    async def _write(
        self, session_id: str, act: Callable[[], Any], then: Then | None = None
    ) -> Any:
        try:
            return await self._writer.do(act, session_id, then=then)
        except SessionLostError:
            self._lost(session_id)
            raise

    def _lost(self, session_id: str) -> None:
        if self._holder is not None:
            self._holder.lost(session_id)

    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        if not wait:
            return (await self._read(reading.read, session_id, from_seq, limit)).events
        until = monotonic() + wait
        number: int | None = None
        with self._wakeups.following(session_id) as bell:
            while True:
                page = await self._read(reading.read, session_id, from_seq, limit)
                if number is not None and page.number != number:
                    # Another session has got the id meanwhile.
                    raise not_found(session_id)
                number = page.number
                rest = until - monotonic()
                if page.events or page.ended or rest <= 0:
                    return page.events
                await bell.wait(rest)

    async def history(self, session_id: str) -> Sequence[CallRecord]:
        return await self._read(reading.history, session_id)

    async def claim(
        self,
        session_id: str,
        key: str,
        fingerprint: str,
        *,
        seconds: float,
        wait: float | None = None,
    ) -> Claim:
        return await self._keys.claim(session_id, key, fingerprint, seconds, wait)

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        await self._keys.settle(session_id, key, answer)

    async def release(self, session_id: str, key: str) -> None:
        await self._keys.release(session_id, key)

    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        held = self._holders.of(session_id) is self
        runs = self._file.ledger.runs
        await self._write(session_id, partial(runs.save, session_id, held, state, tuple(keep)))

    async def saved(self, session_id: str) -> Saved | None:
        return await self._read(reading.saved, session_id)

    async def delete(self, session_id: str) -> bool:
        act = partial(self._file.ledger.sessions.delete, session_id)
        return await self._writer.do(act, then=lambda _: self._gone([session_id]))

    async def sweep(self, now: float) -> int:
        swept = 0
        ledger = self._file.ledger
        await self._writer.do(ledger.forget_over)
        sweep = partial(ledger.sessions.sweep, now)
        while left := await self._writer.do(sweep, then=self._gone):
            swept += len(left)
        return swept

    async def check(self) -> None:
        await self._file.check()

    async def serve(self, holder: Holder) -> None:
        self._holder = holder
        await Taking(self._holders, self, self._open_ids, self.get, self.lease).serve(holder)

    async def _open_ids(self) -> Sequence[str]:
        return await self._read(reading.open_ids)

    def _gone(self, session_ids: Sequence[str]) -> None:
        """They have ended, or are not there any more: all who wait look again."""
        for session_id in session_ids:
            self._holders.let_go(session_id)
            self._wakeups.wake(session_id)
            self._wakeups.wake(claims_of(session_id))


def _stored(call: CallRecord) -> StoredCall:
    call_id, tool, arguments_json, *more = call
    return to_json([call_id, tool, *more]), arguments_json


@asynccontextmanager
async def open_store(config: SqliteConfig, context: OpenContext) -> AsyncIterator[SqliteStore]:
    async with open_file(config, context.base_dir) as file:
        yield SqliteStore(file)
