"""Three exactly counted windows in memory against one moving window of ``limits``.

The windows have room for every call. The peer keeps its admissions in a list and puts each new
one first, so it slows down as the list grows: before each turn the list is emptied, for a
comparison at the peer's best.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from brokered_call import Case
from enclave_broker_memory.limiter import MemoryLimiter

from enclave_broker_core.models import Window

TITLE = "three exact windows in memory against one moving window of limits"
AT_LEAST = {"limits, one window": 1.0, "limits, one window, async": 1.0}
TIMES = 200
NEEDS = ("limits",)
BACKENDS = ("asyncio",)


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    # By name: the type checker has to pass where the peer is not installed.
    limits: Any = import_module("limits")
    waiting: Any = import_module("limits.aio")
    item = limits.RateLimitItemPerMinute(1_000_000)
    theirs = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())
    theirs_async = waiting.strategies.MovingWindowRateLimiter(waiting.storage.MemoryStorage())
    ours = MemoryLimiter()
    windows = tuple(Window(f"{n}", f"{n}", 1_000_000, 60) for n in range(3))

    async def three(n: int) -> None:
        for _ in range(n):
            await ours.acquire(windows)

    async def one(n: int) -> None:
        theirs.clear(item, "key")
        for _ in range(n):
            theirs.hit(item, "key")

    async def one_async(n: int) -> None:
        await theirs_async.clear(item, "key")
        for _ in range(n):
            await theirs_async.hit(item, "key")

    yield {
        "ours, three windows": three,
        "limits, one window": one,
        "limits, one window, async": one_async,
    }
