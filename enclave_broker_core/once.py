"""What happens once and can be waited for."""

from __future__ import annotations

import anyio.lowlevel


class Once:
    """As ``anyio.Event``, but nearly free as long as nobody waits, and hardly anybody does."""

    __slots__ = ("_event", "_happened")

    def __init__(self) -> None:
        self._happened = False
        self._event: anyio.Event | None = None

    def set(self) -> None:
        """It has happened: all who wait go on."""
        self._happened = True
        if self._event is not None:
            self._event.set()

    def is_set(self) -> bool:
        return self._happened

    async def wait(self) -> None:
        """Return when it has happened, after others had their turn if it has already."""
        if self._happened:
            await anyio.lowlevel.checkpoint()
            return
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()
