"""How many requests may be under way at once: to one origin, and to all together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from .errors import OutboundTimeoutError
from .urls import Origin


class Places:
    """So many places for each origin, and for all. An origin that nobody uses takes no memory.

    There is a connection for whoever has a place, so that nobody ever waits in httpcore's
    pool: a request that is cancelled while it waits there may leave a connection behind.
    """

    def __init__(self, each: int, most: int) -> None:
        self._each = each
        self._all = anyio.Semaphore(most, fast_acquire=True)
        self._places: dict[Origin, tuple[anyio.Semaphore, int]] = {}

    @asynccontextmanager
    async def of(self, origin: Origin, seconds: float) -> AsyncIterator[None]:
        """A place, waited for so long; OutboundTimeoutError when none becomes free."""
        places, users = self._places.get(origin) or (
            anyio.Semaphore(self._each, fast_acquire=True),
            0,
        )
        self._places[origin] = places, users + 1
        try:
            await self._acquire(places, origin, seconds)
            try:
                await self._acquire(self._all, origin, seconds)
                try:
                    yield
                finally:
                    self._all.release()
            finally:
                places.release()
        finally:
            places, users = self._places[origin]
            if users == 1:
                del self._places[origin]
            else:
                self._places[origin] = places, users - 1

    async def _acquire(self, places: anyio.Semaphore, origin: Origin, seconds: float) -> None:
        try:
            places.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(seconds):
                await places.acquire()
                return
            raise OutboundTimeoutError(
                f"{origin.host} is busy: there was no free connection within {seconds:g} s",
                host=origin.host,
            ) from None
