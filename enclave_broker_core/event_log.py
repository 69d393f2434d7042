"""Gives a session's events their places and writes them to the store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from . import events
from .calls import CallRecord
from .contracts import SessionStore
from .events import Draft, Event
from .models import SessionState


class EventLog:
    """The log of one session: ``append`` returns when the store has the event.

    A place is taken before the store is asked, so that the order is the order of the
    calls. When the store refuses, the places from there on are given out anew.
    """

    __slots__ = ("_session_id", "_store", "_stored", "seq")

    def __init__(self, session_id: str, store: SessionStore, seq: int = 0) -> None:
        self._session_id = session_id
        self._store = store
        self.seq = seq
        self._stored = seq

    async def append(self, draft: Draft, call: CallRecord | None = None) -> None:
        self.seq = seq = self.seq + 1
        event = Event(self._session_id, seq, draft.type, draft.payload_json)
        try:
            await self._store.append(self._session_id, (event,), call)
        except BaseException:
            # What came after it in the meantime does not continue the log, so it fails
            # too, and the last of them gives the places back.
            if self.seq == seq:
                self.seq = self._stored
            raise
        if seq > self._stored:
            self._stored = seq

    async def end(self, draft: Draft, state: SessionState, at: float) -> bool:
        """Write the final event; False when somebody else had written one."""
        final = Event(self._session_id, self.seq + 1, draft.type, draft.payload_json)
        return await self._store.end(self._session_id, final, state, at)


async def follow(
    store: SessionStore, session_id: str, from_seq: int = 1, wait: float = 15.0
) -> AsyncIterator[Event]:
    """The events from ``from_seq`` on, until the final one, as they happen.

    When the first of them are no longer kept, an ``error`` event that is not in the log
    says so. SessionNotFoundError when the session is unknown, or forgotten meanwhile.
    """
    wanted = max(1, from_seq)
    while True:
        batch = await store.read(session_id, wanted, wait=wait)
        if batch and batch[0].seq > wanted:
            gone = f"events {wanted} to {batch[0].seq - 1} are no longer kept"
            note = events.error(gone, "EVENTS_DROPPED", recoverable=True)
            yield Event(session_id, batch[0].seq - 1, note.type, note.payload_json)
        for event in batch:
            yield event
            if event.type == "final":
                return
            wanted = event.seq + 1
        if not batch:
            record = await store.get(session_id)
            if record is None or record.state.ended:
                return
