"""Waiting without sleeping: gates that hold up whoever comes, and bells that wake who waits."""

from __future__ import annotations

from collections.abc import Callable

import anyio


class Bell:
    """Wakes all who wait for something to become true; on one event loop after the other."""

    def __init__(self) -> None:
        self._rung = anyio.Event()
        self._waiting = 0

    def ring(self) -> None:
        """Have everybody look again."""
        rung, self._rung = self._rung, anyio.Event()
        rung.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when it holds: at once, or after the ring that comes with it."""
        while not holds():
            if not self._waiting:
                self._rung = anyio.Event()  # the one before may be of a loop that has ended
            self._waiting += 1
            try:
                await self._rung.wait()
            finally:
                self._waiting -= 1


class Gate:
    """Holds up whoever comes, until it is opened; ``waiting`` is how many it holds up now.

    ``arrived`` counts all that ever came, also when it was open.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self.arrived = 0
        self._opened = False
        self._bell = Bell()

    async def wait(self) -> None:
        """Come to the gate, and go on when it is open."""
        self.waiting += 1
        self.arrived += 1
        self._bell.ring()
        try:
            await self._bell.until(lambda: self._opened)
        finally:
            self.waiting -= 1

    async def reached(self, count: int = 1) -> None:
        """Return when ``count`` have come."""
        await self._bell.until(lambda: self.arrived >= count)

    def open(self) -> None:
        """Let all go on that wait, and all that come."""
        self._opened = True
        self._bell.ring()
