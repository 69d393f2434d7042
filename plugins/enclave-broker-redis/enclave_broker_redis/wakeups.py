"""Wakes who waits for something of a session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

# How long what another process has done may go unnoticed.
LOOK = 0.25


class Bell:
    """One who waits. What rings while nobody waits is heard at the next ``wait``.

    ``look`` is how many seconds pass until it looks by itself.
    """

    def __init__(self) -> None:
        self._rung = anyio.Event()
        self.look = LOOK

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Return when it has rung, or when it is time to look all the same."""
        with anyio.move_on_after(min(seconds, self.look)):
            await self._rung.wait()
        self._rung = anyio.Event()


class Wakeups:
    """The bells of this process, by session."""

    def __init__(self) -> None:
        self._bells: dict[str, set[Bell]] = {}

    @asynccontextmanager
    async def following(self, session_id: str) -> AsyncIterator[Bell]:
        """From here on nothing that happens to the session is missed."""
        bell = Bell()
        bells = self._bells.setdefault(session_id, set())
        bells.add(bell)
        try:
            yield bell
        finally:
            bells.discard(bell)
            if not bells and self._bells.get(session_id) is bells:
                del self._bells[session_id]

    def waits_for(self, session_id: str) -> bool:
        return session_id in self._bells

    def wake(self, session_id: str) -> None:
        """Something has happened here."""
        for bell in self._bells.get(session_id, ()):
            bell.ring()

    def tell(self, session_id: str, followers: bytes) -> None:
        """Something has happened here that these replicas wait for."""
