from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from enclave_broker_memory.limiter import MemoryLimiter, open_limiter

from enclave_broker_core.contracts import NoConfig, OpenContext
from enclave_broker_core.models import Admission, Window
from enclave_broker_core.testing.limiters import LimiterSuite


class TestMemoryLimiter(LimiterSuite):
    seconds = 64.0
    leeway = 0.0

    @asynccontextmanager
    async def open_limiter(self) -> AsyncIterator[MemoryLimiter]:
        self.now = 1000.0
        yield MemoryLimiter(lambda: self.now)

    async def advance(self, seconds: float) -> None:
        self.now += seconds


class TestMemoryLimiterOnAClockThatRuns(LimiterSuite):
    """The suite has patience with real time: here it runs on, and waits take too long."""

    seconds = 64.0
    leeway = 20.0

    @asynccontextmanager
    async def open_limiter(self) -> AsyncIterator[MemoryLimiter]:
        self.now = 1000.0
        yield MemoryLimiter(self.read)

    def read(self) -> float:
        self.now += 0.25
        return self.now

    async def advance(self, seconds: float) -> None:
        self.now += seconds * 1.05


@pytest.mark.anyio
async def test_each_limiter_counts_for_itself() -> None:
    window = Window("k", "global", 1, 60.0)
    for _ in range(2):
        async with open_limiter(NoConfig(), OpenContext("limiter")) as limiter:
            assert await limiter.acquire([window]) == Admission()
            assert (await limiter.acquire([window])).refused_by == window
