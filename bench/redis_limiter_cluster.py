"""The same as ``redis_limiter`` on a cluster of three servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from brokered_call import Case
from redis_limiter import BACKENDS, NEEDS, TIMES, TURNS, compared
from redis_servers_here import servers

TITLE = "three exact windows on a cluster by 50 tasks, against one moving window of limits"
BARS = {"ours, three windows": 1 / 1.3}

__all__ = ["BACKENDS", "BARS", "NEEDS", "TIMES", "TITLE", "TURNS", "cases"]


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    _, own_cluster = servers()
    async with AsyncExitStack() as stack:
        cluster = stack.enter_context(own_cluster())
        found = compared(cluster.url, "async+redis+cluster", True)
        yield await stack.enter_async_context(found)
