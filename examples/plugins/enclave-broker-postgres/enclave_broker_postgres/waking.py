"""Who waits in this process for what happens in it: all writers of a schema are here."""

from __future__ import annotations

from weakref import WeakValueDictionary

import anyio


class Wakes:
    """Waiting for the next change of a session; of those for whom nobody waits nothing is kept."""

    def __init__(self) -> None:
        self._next: WeakValueDictionary[str, anyio.Event] = WeakValueDictionary()

    def next(self, session_id: str) -> anyio.Event:
        """Set at the next ``wake``. Ask for it before you look: what comes between counts."""
        event = self._next.get(session_id)
        if event is None:
            event = self._next[session_id] = anyio.Event()
        return event

    def wake(self, session_id: str) -> None:
        event = self._next.pop(session_id, None)
        if event is not None:
            event.set()


class Turns:
    """One at a time for each session, in the order in which they asked."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    def of(self, session_id: str) -> anyio.Lock:
        lock = self._locks.get(session_id)
        if lock is None:
            lock = self._locks[session_id] = anyio.Lock()
        return lock
