"""The limiter on a real server and on a cluster of three."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from enclave_broker_redis.config import ServerConfig
from enclave_broker_redis.limiter import RedisLimiter, open_limiter
from redis_servers.cluster import Cluster
from redis_servers.endpoint import Endpoint
from redis_servers.server import Server

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import StoreError
from enclave_broker_core.models import Admission, Window
from enclave_broker_core.testing.limiters import LimiterSuite
from enclave_broker_core.testing.samples import at_once

pytestmark = pytest.mark.anyio
CONTEXT = OpenContext("limiter")
LONG = 1000.0


class RealTimeSuite(LimiterSuite):
    loops = ("asyncio",)
    seconds = 0.4
    leeway = 0.15


class TestOnOneServer(RealTimeSuite):
    @pytest.fixture(autouse=True)
    def _server(self, server: Endpoint, prefix: str) -> None:
        self._config = ServerConfig(url=server.url, prefix=prefix)

    @asynccontextmanager
    async def open_limiter(self) -> AsyncIterator[RedisLimiter]:
        async with open_limiter(self._config, CONTEXT) as limiter:
            yield limiter


class TestOnACluster(RealTimeSuite):
    @pytest.fixture(autouse=True)
    def _cluster(self, cluster: Cluster, prefix: str) -> None:
        self._config = ServerConfig(url=cluster.url, cluster=True, prefix=prefix)

    @asynccontextmanager
    async def open_limiter(self) -> AsyncIterator[RedisLimiter]:
        async with open_limiter(self._config, CONTEXT) as limiter:
            yield limiter


async def test_brokers_share_their_windows(server: Endpoint, prefix: str) -> None:
    config = ServerConfig(url=server.url, prefix=prefix)
    async with open_limiter(config, CONTEXT) as one, open_limiter(config, CONTEXT) as other:
        windows = (Window("w", "global", 7, LONG), Window("session:s_1", "session", 90, LONG))
        calls = [partial(random.choice([one, other]).acquire, windows) for _ in range(40)]
        got: list[Any] = await at_once(calls)
        assert sum(answer.allowed for answer in got) == 7
        assert list(await one.remaining(windows)) == list(await other.remaining(windows)) == [0, 83]


async def test_many_windows_on_many_slots_are_exact(cluster: Cluster, prefix: str) -> None:
    """However calls that share some of their windows meet, no window is exceeded, and what is
    counted is what was admitted."""
    config = ServerConfig(url=cluster.url, cluster=True, prefix=prefix)
    windows = [Window(f"w{number}", "tool", 9 + number, LONG) for number in range(6)]
    async with open_limiter(config, CONTEXT) as limiter:
        chosen = [tuple(random.sample(windows, 3)) for _ in range(60)]
        got: list[Any] = await at_once([partial(limiter.acquire, some) for some in chosen])
        taken = dict.fromkeys(windows, 0)
        for some, answer in zip(chosen, got, strict=True):
            for window in some if answer.allowed else ():
                taken[window] += 1
        assert sum(answer.allowed for answer in got) > 0
        assert all(count <= window.max_calls for window, count in taken.items())
        left = await limiter.remaining(windows)
        assert [window.max_calls - rest for window, rest in zip(windows, left, strict=True)] == [
            taken[window] for window in windows
        ]


async def test_a_window_that_grows_sees_what_was_before(server: Endpoint, prefix: str) -> None:
    """Whoever knows the key by a smaller window doesn't make it forget."""
    config = ServerConfig(url=server.url, prefix=prefix)
    large, small = Window("k", "tool", 5, LONG), Window("k", "tool", 2, 0.001)
    async with open_limiter(config, CONTEXT) as limiter:
        for _ in range(3):
            assert await limiter.acquire([large])
        answer = Admission()
        for _ in range(9):
            answer = await limiter.acquire([small, large])
        assert answer.refused_by == large
        assert list(await limiter.remaining([large])) == [0]


async def test_keys_go_when_their_windows_are_over(server: Endpoint, prefix: str) -> None:
    config = ServerConfig(url=server.url, prefix=prefix)
    async with open_limiter(config, CONTEXT) as limiter:
        await limiter.acquire([Window("k", "tool", 5, 2.0), Window("session:s_1", "session", 5, 9)])
        with server.client() as client:
            ttl = {key: client.pttl(key) for key in client.scan_iter(f"{prefix}*")}
        assert set(ttl) == {f"{prefix}:w:k", f"{prefix}:{{s_1}}:w"}
        # For twice its window: that is long enough for all calls that come in the first.
        assert 2001 < ttl[f"{prefix}:w:k"] <= 4001
        assert 9001 < ttl[f"{prefix}:{{s_1}}:w"] <= 18001


async def test_a_key_outlives_its_window_by_every_call(server: Endpoint, prefix: str) -> None:
    """Its time is set once in each span: whenever a call comes, what is left is a window's."""
    config = ServerConfig(url=server.url, prefix=prefix)
    span = 0.2
    async with open_limiter(config, CONTEXT) as limiter:
        with server.client() as client:
            for number in range(60):
                await limiter.acquire([Window("k", "tool", 1000, span)])
                assert client.pttl(f"{prefix}:w:k") >= span * 1000 - 1, number
                assert client.llen(f"{prefix}:w:k") == number + 1
                await anyio.sleep(0.01)


async def test_a_server_that_goes_and_comes_back_empty(fragile: Server) -> None:
    config = ServerConfig(url=fragile.url, retry_for=0.2, timeout=0.2)
    only = [Window("k", "tool", 1, LONG)]
    async with open_limiter(config, CONTEXT) as limiter:
        assert await limiter.acquire(only)
        assert not await limiter.acquire(only)
        fragile.stop()
        with pytest.raises(StoreError):
            await limiter.acquire(only)
        fragile.start()
        assert await limiter.acquire(only)
