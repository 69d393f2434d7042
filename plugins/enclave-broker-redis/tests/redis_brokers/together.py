"""Several brokers in the test's own process, each with a store of its own on the same server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from enclave_broker_redis.config import RedisConfig
from enclave_broker_redis.engine import Engine
from enclave_broker_redis.ops import Op
from enclave_broker_redis.store import RedisStore, open_store

from enclave_broker_core import Broker
from enclave_broker_core.contracts import OpenContext


@dataclass(frozen=True)
class Replica:
    """One broker, and the store that it alone uses."""

    broker: Broker
    store: RedisStore

    def silence(self, silent: bool = True) -> None:
        """Let it say nothing more of its lease, as if the whole process stood still."""
        self.store.serving.leases.silent = silent

    async def lives(self) -> bool:
        """Whether its lease lasts, as far as this clock and the server's are one."""
        store = self.store
        end = await store.engine.do("ZSCORE", store.keys.replicas, store.writing.replica)
        return end is not None and float(end) > 1000 * time.time()


@asynccontextmanager
async def replicas(config: RedisConfig, count: int, **options: Any) -> AsyncIterator[list[Replica]]:
    """So many brokers with the same options."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            store = await stack.enter_async_context(open_store(config, OpenContext("store")))
            broker = await stack.enter_async_context(Broker(store=store, **options))
            found.append(Replica(broker, store))
        yield found


class Trips:
    """Counts how often something was sent to the servers that had to wait for answers before.

    What is begun together is one trip, to however many nodes it goes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._submit = engine.submit
        self._answered = 0
        self.made = 0
        self.ops = 0

    def __enter__(self) -> Trips:
        self._engine.submit = self._count  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.submit = self._submit  # type: ignore[method-assign]

    def _count(self, op: Op) -> None:
        trip = self._answered + 1
        self.made = max(self.made, trip)
        self.ops += 1

        def answered(_: object) -> None:
            self._answered = max(self._answered, trip)

        op._future.add_done_callback(answered)
        self._submit(op)
