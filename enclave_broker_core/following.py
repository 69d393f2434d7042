"""Follows a session's events as they happen."""

from __future__ import annotations

from collections import deque
from typing import Self

from . import events
from .contracts import SessionStore
from .events import Event


class Following:
    """The events from ``from_seq`` on, until the final one, as they happen; an iterator.

    When the first of them are no longer kept, an ``error`` event that is not in the log
    says so. SessionNotFoundError when the session is unknown, or forgotten meanwhile. It
    holds nothing open: it can be left at any event, without closing it.
    """

    def __init__(
        self, store: SessionStore, session_id: str, from_seq: int = 1, wait: float = 15.0
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._wanted = max(1, from_seq)
        self._wait = wait
        self._waiting: deque[Event] = deque()
        self._at_end = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._at_end:
                raise StopAsyncIteration
            await self._read()
        event = self._waiting.popleft()
        if event.type == "final":
            self._at_end = True
            self._waiting.clear()
        return event

    async def _read(self) -> None:
        batch = await self._store.read(self._session_id, self._wanted, wait=self._wait)
        if not batch:
            record = await self._store.get(self._session_id)
            self._at_end = record is None or record.state.ended
            return
        first = batch[0].seq
        if first > self._wanted:
            gone = f"events {self._wanted} to {first - 1} are no longer kept"
            draft = events.error(gone, "EVENTS_DROPPED", recoverable=True)
            self._waiting.append(Event(self._session_id, first - 1, *draft))
        self._waiting.extend(batch)
        self._wanted = batch[-1].seq + 1
