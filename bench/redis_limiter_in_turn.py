"""Three exact windows on a Redis server, one check after the other, against bare EVALSHAs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from brokered_call import Case
from enclave_broker_redis.config import ServerConfig
from enclave_broker_redis.limiter import open_limiter
from redis_limiter import WINDOWS
from redis_servers_here import bare_scripts, servers

from enclave_broker_core.contracts import OpenContext

TITLE = "three exact windows over Redis, one after the other, against bare EVALSHAs"
BARS = {"ours, three windows": 2.0}
TIMES = 100
TURNS = 10
NEEDS = ("redis",)
BACKENDS = ("asyncio",)


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    own_server, _ = servers()
    with own_server() as server:
        async with (
            bare_scripts(server.url) as evalsha,
            open_limiter(ServerConfig(url=server.url), OpenContext("limiter")) as limiter,
        ):

            async def bare(n: int) -> None:
                for _ in range(n):
                    await evalsha()

            async def ours(n: int) -> None:
                for _ in range(n):
                    await limiter.acquire(WINDOWS)

            yield {"bare EVALSHA": bare, "ours, three windows": ours}
