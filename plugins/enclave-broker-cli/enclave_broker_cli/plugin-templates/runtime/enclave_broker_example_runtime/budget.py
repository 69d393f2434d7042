"""What one run may still use: steps, memory and time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from anyio.lowlevel import checkpoint
from enclave_broker_core.errors import DeadlineExceededError, RunError
from enclave_broker_core.models import SessionLimits

# After so many steps others get their turn, and a cancellation is heard.
STEPS_AT_A_TIME = 100
# About what Python takes for one more item or name.
ITEM_BYTES = 64


class Budget:
    """Counts down. What a run has made counts to its end, also when it is thrown away."""

    def __init__(
        self,
        limits: SessionLimits,
        max_steps: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps = max_steps
        self._bytes = limits.max_memory_bytes
        self._seconds = limits.run_timeout
        self._clock = clock
        self._began = clock()

    async def step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise RunError("the code takes too many steps")
        if self._steps % STEPS_AT_A_TIME == 0:
            await checkpoint()
            if self._seconds is not None and self._clock() - self._began > self._seconds:
                raise DeadlineExceededError(f"the code runs longer than {self._seconds} s")

    def take(self, size: int) -> None:
        """Count memory that a value takes, in bytes."""
        self._bytes -= size
        if self._bytes < 0:
            raise OutOfMemory("the code takes too much memory")

    def take_copy(self, value: Any) -> None:
        """Count a value as if it were copied, though it is shared.

        So nothing can hold a value so many times over that writing it down takes for ever.
        """
        waiting = [value]
        while waiting:
            match waiting.pop():
                case str(text):
                    self.take(len(text))
                case list(items):
                    self.take(ITEM_BYTES * len(items))
                    waiting += items
                case dict(items):
                    self.take(sum(ITEM_BYTES + len(key) for key in items))
                    waiting += items.values()


class OutOfMemory(RunError):
    """What the run has defined is not kept: the next one would have no memory either."""
