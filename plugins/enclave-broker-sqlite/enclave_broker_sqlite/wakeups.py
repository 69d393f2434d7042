"""Wakes who waits for something of a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Bell:
    """One who waits. What rings while nobody waits is heard at the next ``wait``."""

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Return when it has rung, or when the time is over."""
        with anyio.move_on_after(seconds):
            await self._rung.wait()
        self._rung = anyio.Event()


class Wakeups:
    """All bells, by the name of what they are for."""

    def __init__(self) -> None:
        self._bells: dict[str, set[Bell]] = {}

    @contextmanager
    def following(self, name: str) -> Iterator[Bell]:
        """From here on nothing that happens under this name is missed."""
        bell = Bell()
        self._bells.setdefault(name, set()).add(bell)
        try:
            yield bell
        finally:
            bells = self._bells[name]
            bells.discard(bell)
            if not bells:
                del self._bells[name]

    def wake(self, name: str) -> None:
        for bell in self._bells.get(name, ()):
            bell.ring()
