"""How fast a server may talk without being asked: what is too much waits to be read."""

from __future__ import annotations

import time

import anyio
from anyio.lowlevel import checkpoint

PER_SECOND = 500.0
AT_ONCE = 5000.0


class Pace:
    """So many messages in a second, and more of them at once after a silence."""

    def __init__(self, per_second: float = PER_SECOND, at_once: float = AT_ONCE) -> None:
        self._rate = per_second
        self._most = at_once
        self._left = at_once
        self._last = time.monotonic()

    async def spend(self) -> None:
        """Count one. Who reads waits here, and who writes waits for the reader."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._last) * self._rate) - 1.0
        self._last = now
        if self._left < 0.0:
            await anyio.sleep(-self._left / self._rate)
        else:
            await checkpoint()
