"""Exact sliding windows in the memory of one process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from enclave_broker_core.contracts import Limiter, OpenContext
from enclave_broker_core.errors import LimiterError
from enclave_broker_core.models import Admission, Window

from .config import LimiterConfig


@dataclass
class _Calls:
    """When the latest calls of one key were admitted, as far as its windows look back."""

    times: deque[float] = field(default_factory=deque)
    most: int = 0
    seconds: float = 0.0

    def free_at(self, window: Window) -> float:
        """When the window has room: some time ago, or the time at which a call leaves it."""
        if len(self.times) < window.max_calls:
            return 0.0
        return self.times[-window.max_calls] + window.seconds

    def add(self, now: float, windows: Sequence[Window]) -> None:
        for window in windows:
            self.most = max(self.most, window.max_calls)
            self.seconds = max(self.seconds, window.seconds)
        self.times.append(now)
        while len(self.times) > self.most:
            self.times.popleft()


class SlidingLimiter:
    """A Limiter by ``clock``, in seconds that are never set back.

    Between looking and counting nothing waits, so that calls at once can't both take the
    last place. What is kept elsewhere needs a transaction for that.
    """

    def __init__(
        self, config: LimiterConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_keys = config.max_keys
        self._clock = clock
        self._calls: dict[str, _Calls] = {}

    async def acquire(self, windows: Sequence[Window]) -> Admission:
        now = self._clock()
        last: Window | None = None
        free_at = now
        for window in windows:
            calls = self._calls.get(window.key)
            if calls is not None and calls.free_at(window) > free_at:
                last, free_at = window, calls.free_at(window)
        if last is not None:
            return Admission(last, free_at - now)
        keys = {window.key for window in windows}
        self._make_room(len(keys - self._calls.keys()), now)
        for key in keys:
            own = [window for window in windows if window.key == key]
            self._calls.setdefault(key, _Calls()).add(now, own)
        return Admission()

    async def remaining(self, windows: Sequence[Window]) -> Sequence[int]:
        now = self._clock()
        return [self._room(window, now) for window in windows]

    async def check(self) -> None:
        """There is nothing that could be out of reach."""

    def _room(self, window: Window, now: float) -> int:
        calls = self._calls.get(window.key)
        times = () if calls is None else calls.times
        used = sum(at + window.seconds > now for at in times)
        return max(0, window.max_calls - used)

    def _make_room(self, more: int, now: float) -> None:
        """Forget the keys of which no window can see a call; LimiterError when all count."""
        if len(self._calls) + more <= self._max_keys:
            return
        self._calls = {
            key: calls
            for key, calls in self._calls.items()
            if calls.times[-1] + calls.seconds > now
        }
        if len(self._calls) + more > self._max_keys:
            raise LimiterError(f"{len(self._calls)} keys are counted, and no more may be")


@asynccontextmanager
async def open_limiter(config: LimiterConfig, context: OpenContext) -> AsyncIterator[Limiter]:
    yield SlidingLimiter(config)
