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


class TestMemoryLimiterOnTheRealClock(LimiterSuite):
    """As a limiter behind a server is tested, on one loop, for this takes seconds."""

    loops = ("asyncio",)
    seconds = 0.4
    leeway = 0.15

    @asynccontextmanager
    async def open_limiter(self) -> AsyncIterator[MemoryLimiter]:
        async with open_limiter(NoConfig(), OpenContext("limiter")) as limiter:
            yield limiter


@pytest.mark.anyio
async def test_each_limiter_counts_for_itself() -> None:
    window = Window("k", "global", 1, 60.0)
    for _ in range(2):
        async with open_limiter(NoConfig(), OpenContext("limiter")) as limiter:
            assert await limiter.acquire([window]) == Admission()
            assert (await limiter.acquire([window])).refused_by == window
