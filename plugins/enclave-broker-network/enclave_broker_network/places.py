"""How many requests may be under way to one origin at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from .errors import OutboundTimeoutError
from .urls import Origin


class Places:
    """So many places for each origin. An origin that nobody uses takes no memory."""

    def __init__(self, each: int) -> None:
        self._each = each
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
            try:
                with anyio.fail_after(seconds):
                    await places.acquire()
            except TimeoutError:
                raise OutboundTimeoutError(
                    f"{origin.host} is busy: there was no free connection within {seconds:g} s",
                    host=origin.host,
                ) from None
            try:
                yield
            finally:
                places.release()
        finally:
            places, users = self._places[origin]
            if users == 1:
                del self._places[origin]
            else:
                self._places[origin] = places, users - 1
