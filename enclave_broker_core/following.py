"""Follows a session's events as they happen."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Self

from . import events
from .events import Event
from .session_store import SessionStore


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
            self._waiting.extend(await self.batch(self._wait))
        return self._waiting.popleft()

    @property
    def at_end(self) -> bool:
        """Whether ``batch`` has given the last of them."""
        return self._at_end

    async def batch(self, wait: float) -> Sequence[Event]:
        """The next of them, up to a thousand at a time; none when ``wait`` seconds bring none."""
        if self._at_end:
            return ()
        batch = await self._store.read(self._session_id, self._wanted, wait=wait)
        if not batch:
            record = await self._store.get(self._session_id)
            if record is not None and not record.state.ended:
                return ()
            # It may have ended after the first look.
            batch = await self._store.read(self._session_id, self._wanted)
            self._at_end = not batch
        if not batch:
            return ()
        wanted, first, last = self._wanted, batch[0].seq, batch[-1]
        self._wanted = last.seq + 1
        self._at_end = last.type == "final"
        if first == wanted:
            return batch
        gone = f"events {wanted} to {first - 1} are no longer kept"
        draft = events.error(gone, "EVENTS_DROPPED", recoverable=True)
        return [Event(self._session_id, first - 1, *draft), *batch]
