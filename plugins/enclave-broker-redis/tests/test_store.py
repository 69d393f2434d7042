"""The store keeps the contract of session stores, on one server and on a cluster."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from enclave_broker_redis.config import RedisConfig
from enclave_broker_redis.store import RedisStore, open_store
from engines import config
from redis_servers.cluster import Cluster
from redis_servers.endpoint import Endpoint

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.stores import SessionStoreSuite

# So few that a test which fills a session with claims does not take long; others need more than 40.
MAX_CLAIMS = 60


class StoreSuiteOnServers(SessionStoreSuite):
    loops = ("asyncio",)
    max_claims = MAX_CLAIMS
    config: RedisConfig

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[RedisStore]:
        async with open_store(self.config, OpenContext("store")) as store:
            yield store


class TestStoreOnOneServer(StoreSuiteOnServers):
    @pytest.fixture(autouse=True)
    def one_server(self, server: Endpoint, prefix: str) -> None:
        self.config = config(server.url, prefix=prefix, max_claims=MAX_CLAIMS)


class TestStoreOnACluster(StoreSuiteOnServers):
    @pytest.fixture(autouse=True)
    def three_nodes(self, cluster: Cluster, prefix: str) -> None:
        self.config = config(cluster.url, cluster=True, prefix=prefix, max_claims=MAX_CLAIMS)
