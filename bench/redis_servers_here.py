"""The tests' Redis or Valkey servers, for the benchmarks that need one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import redis.asyncio as redis

# By path: the tests' kit is no distribution.
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins/enclave-broker-redis/tests"))

TASKS = 50


def servers() -> tuple[Any, Any]:
    """The context managers of a server of its own and of a cluster of three."""
    from redis_servers.cluster import own_cluster  # type: ignore[import-not-found]
    from redis_servers.server import own_server  # type: ignore[import-not-found]

    return own_server, own_cluster


def by_tasks(act: Callable[[], Awaitable[object]]) -> Callable[[int], Awaitable[None]]:
    """Does the thing by fifty tasks at once, so many times in all."""

    async def several(times: int) -> None:
        for _ in range(times):
            await act()

    async def case(n: int) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(TASKS):
                tasks.start_soon(several, n // TASKS + (number < n % TASKS))

    return case


@asynccontextmanager
async def bare_scripts(url: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """One EVALSHA of redis-py's, that does nothing, from a pool as large as there are tasks."""
    async with redis.Redis.from_url(url, max_connections=TASKS) as client:
        sha = await client.script_load("return 1")

        async def evalsha() -> object:
            return await client.evalsha(sha, 1, "key")

        yield evalsha
