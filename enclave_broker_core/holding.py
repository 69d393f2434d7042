"""The sessions that this process holds, as a store sees it that other processes share."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping

import anyio
from pydantic_core import to_json

from . import events
from .durable_sessions import go_on, require_durability
from .error_form import error_form
from .errors import (
    BrokerError,
    SessionEndedError,
    SessionError,
    SessionExpiredError,
    SessionLostError,
    SessionNotFoundError,
    StoreError,
)
from .models import RunStats, SessionRecord, SessionState
from .observations import SessionFinished
from .remote_session import RemoteSession
from .session import Session
from .session_commands import begin
from .session_handle import SessionHandle
from .store_abilities import LeasedStore, SharedStore
from .surroundings import Surroundings

# How long, in seconds, who asks for a session waits until it has been taken up after a restart.
PATIENCE = 5.0
REMEMBERED = 10_000

_log = logging.getLogger(__name__)


class Holding:
    """The Holder of a SessionManager: ``open`` is what the manager has, by session id."""

    def __init__(
        self,
        open: Mapping[str, Session],
        around: Surroundings,
        adopt: Callable[[SessionRecord], Session],
    ) -> None:
        self._open = open
        self._around = around
        self._adopt = adopt
        self._settled: set[str] = set()
        self._changed = anyio.Event()

    def lost(self, session_id: str) -> None:
        session = self._open.get(session_id)
        if session is not None:
            _log.warning("session %s has been taken up by another process", session_id)
            session.lose(SessionLostError("this process was taken for dead and lost the session"))

    async def find(self, record: SessionRecord) -> SessionHandle:
        """A session that this process does not run; StoreError when nobody does yet."""
        store = self._around.store
        if record.state.ended or not isinstance(store, LeasedStore):
            return Session(record, self._around)
        if isinstance(store, SharedStore):
            return RemoteSession(record, self._around, store)
        # Nobody else can have it: it is about to be taken up, or to end as lost.
        with anyio.move_on_after(PATIENCE):
            while record.id not in self._settled and record.id not in self._open:
                await self._changed.wait()
        now = self._open.get(record.id)
        if now is not None:
            return now
        found = await store.get(record.id)
        if found is None or not found.state.ended:
            raise StoreError("the session is being taken up after a restart", retry_after=1.0)
        return Session(found, self._around)

    async def take_up(self, record: SessionRecord) -> None:
        await self._take_up(record)
        if len(self._settled) >= REMEMBERED:
            self._settled.clear()
        self._settled.add(record.id)
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _take_up(self, record: SessionRecord) -> None:
        error: SessionError
        if record.durable and record.expires_at > time.time():
            require_durability(self._around)
            await go_on(self._adopt(record))
            return
        if record.expires_at <= time.time():
            error = SessionExpiredError(
                f"the session's time of {record.limits.timeout:g} s is over"
            )
        else:
            error = SessionLostError("the process that ran the session has gone")
        await self._end(record, error)

    async def _end(self, record: SessionRecord, error: SessionError) -> None:
        at = time.time()
        stats = RunStats(max(0.0, at - record.created_at), record.tool_calls, 0)
        final, state = events.final_error(error, stats), SessionState.FAILED
        if not await self._around.store.end(record.id, final, state, at):
            return
        _log.warning("session %s ended without its process: %s", record.id, error.message)
        if self._around.observe is not None:
            ended = record.model_copy(update={"state": state, "ended_at": at})
            await self._around.observe(SessionFinished(ended, error.code))

    def command(self, session_id: str, body: bytes) -> Awaitable[bytes]:
        session = self._open.get(session_id)
        if session is None:
            return self._unknown(session_id)
        return begin(session, body)

    async def _unknown(self, session_id: str) -> bytes:
        """It ended, or was lost, between the store's look and this."""
        error: BrokerError
        try:
            record = await self._around.store.get(session_id)
            if record is None:
                error = SessionNotFoundError(f"there is no session {session_id!r}")
            elif record.state.ended:
                error = SessionEndedError(f"the session has ended ({record.state.value})")
            else:
                error = SessionLostError(f"session {session_id!r} is not held here any more")
        except BrokerError as problem:
            error = problem
        return to_json({"error": error_form(error)})
