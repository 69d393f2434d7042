"""Three exact windows on a server, or a cluster, against one moving window of ``limits`` there.

All by fifty tasks at once. The windows have room for every call; before each turn the peer's
list is emptied, for a comparison at its best. A baseline's time divided by ours is how many
times the checks per second we do: at least 2.5 on a server, 1.3 on a cluster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any

from brokered_call import Case
from enclave_broker_redis.config import ServerConfig
from enclave_broker_redis.limiter import open_limiter
from redis_servers_here import by_tasks, servers

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.models import Window

TITLE = "three exact windows over Redis by 50 tasks, against one moving window of limits"
BARS = {"ours, three windows": 1 / 2.5}
TIMES = 500
TURNS = 4
NEEDS = ("limits", "redis")
BACKENDS = ("asyncio",)

WINDOWS = tuple(Window(f"{n}", f"{n}", 1_000_000, 60) for n in range(3))


@asynccontextmanager
async def compared(url: str, scheme: str, cluster: bool) -> AsyncIterator[Mapping[str, Case]]:
    # By name: the type checker has to pass where the peer is not installed.
    limits: Any = import_module("limits")
    waiting: Any = import_module("limits.aio")
    item = limits.RateLimitItemPerMinute(1_000_000)
    place = url.partition("://")[2]
    made = limits.storage.storage_from_string(f"{scheme}://{place}", implementation="redispy")
    theirs = waiting.strategies.MovingWindowRateLimiter(made)
    given = {"url": url, "cluster": cluster, "retry_for": 20.0, "timeout": 10.0}
    config = ServerConfig.model_validate(given)
    async with open_limiter(config, OpenContext("limiter")) as ours:

        async def three() -> object:
            return await ours.acquire(WINDOWS)

        async def one() -> object:
            return await theirs.hit(item, "key")

        peers = by_tasks(one)

        async def emptied(n: int) -> None:
            await theirs.clear(item, "key")
            await peers(n)

        try:
            yield {"limits, one window": emptied, "ours, three windows": by_tasks(three)}
        finally:
            await made.bridge.storage.aclose()


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    own_server, _ = servers()
    async with AsyncExitStack() as stack:
        server = stack.enter_context(own_server())
        found = compared(server.url, "async+redis", False)
        yield await stack.enter_async_context(found)
