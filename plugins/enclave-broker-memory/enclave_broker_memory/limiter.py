"""Rate limits for one process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from enclave_broker_core.contracts import NoConfig, OpenContext
from enclave_broker_core.models import Admission, Window
from enclave_broker_core.windows import SlidingWindows


class MemoryLimiter:
    """The Limiter whose windows are in this process, by ``clock`` in seconds. Never waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._windows = SlidingWindows(clock)

    async def acquire(self, windows: Sequence[Window]) -> Admission:
        return self._windows.acquire(windows)

    async def remaining(self, windows: Sequence[Window]) -> Sequence[int]:
        """How many calls each window has room for now."""
        return [self._windows.remaining(window) for window in windows]

    async def check(self) -> None:
        """There is nothing that could be out of reach."""


@asynccontextmanager
async def open_limiter(config: NoConfig, context: OpenContext) -> AsyncIterator[MemoryLimiter]:
    yield MemoryLimiter()
