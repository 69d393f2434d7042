"""Many replicas on one server and on a cluster: leases, commands, admission, saved state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from enclave_broker_redis.config import RedisConfig
from enclave_broker_redis.store import RedisStore, open_store
from redis_servers.cluster import Cluster
from redis_servers.endpoint import Endpoint

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.admission_suite import AdmissionSuite
from enclave_broker_core.testing.command_suite import SharedStoreSuite
from enclave_broker_core.testing.durable_store_suite import DurableStoreSuite

LEASE = 0.3


class RedisBackend:
    def __init__(self, config: RedisConfig) -> None:
        self._config = config

    def replica(self) -> AbstractAsyncContextManager[RedisStore]:
        return open_store(self._config, OpenContext("store"))

    async def silence(self, store: RedisStore) -> None:
        store.serving.leases.silent = True


class RedisSuite(SharedStoreSuite, DurableStoreSuite, AdmissionSuite):
    loops = ("asyncio",)
    config: RedisConfig

    @asynccontextmanager
    async def open_backend(self) -> AsyncIterator[RedisBackend]:
        yield RedisBackend(self.config)


class TestOnOneServer(RedisSuite):
    @pytest.fixture(autouse=True)
    def _server(self, server: Endpoint, prefix: str) -> None:
        self.config = RedisConfig(url=server.url, prefix=prefix, lease=LEASE)


class TestOnACluster(RedisSuite):
    @pytest.fixture(autouse=True)
    def _cluster(self, cluster: Cluster, prefix: str) -> None:
        self.config = RedisConfig(url=cluster.url, cluster=True, prefix=prefix, lease=LEASE)
