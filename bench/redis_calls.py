"""What goes to a Redis server, against bare EVALSHAs of redis-py that do nothing.

One after the other: three windows counted. By fifty tasks at once: brokered calls with all that
``brokered_call`` has, every event stored; for at least 0.35 as many calls a second as scripts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from brokered_call import Case, broker
from enclave_broker_redis.config import RedisConfig
from enclave_broker_redis.store import open_store
from redis_servers_here import bare_scripts, by_tasks, servers

from enclave_broker_core.contracts import OpenContext

TITLE = "brokered calls over Redis by 50 tasks, fully stored, against bare EVALSHAs by 50 tasks"
BARS = {"brokered calls": 1 / 0.35}
TIMES = 500
TURNS = 4
NEEDS = ("redis",)
BACKENDS = ("asyncio",)


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    own_server, _ = servers()
    with own_server() as server:
        config = RedisConfig(url=server.url, timeout=10.0)
        async with (
            bare_scripts(server.url) as evalsha,
            open_store(config, OpenContext("store")) as store,
            broker(5.0, store=store) as made,
            made.session() as session,
        ):

            async def call() -> object:
                return await session.call("users:get", {"id": 1})

            yield {"bare EVALSHAs": by_tasks(evalsha), "brokered calls": by_tasks(call)}
