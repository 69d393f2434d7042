"""Servers for the tests: one for all of a worker's, and more for those that ask for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from redis_servers.cluster import Cluster, own_cluster
from redis_servers.endpoint import Endpoint
from redis_servers.program import url_given
from redis_servers.server import Server, own_server
from redis_servers.watched import Watched, own_watched
from tcp_proxy import ProxyThread, proxy_thread


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """redis-py's clients run on asyncio only."""
    return "asyncio", {}


@pytest.fixture(scope="session")
def server() -> Iterator[Endpoint]:
    """A server for everybody: tests keep to ``prefix``, and do nothing to the server itself."""
    given = url_given()
    if given is not None:
        yield Endpoint(given)
        return
    with own_server() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of three for everybody, under the same conditions."""
    with own_cluster() as cluster:
        yield cluster


@pytest.fixture
def fragile() -> Iterator[Server]:
    """A server for one test, which may do to it what it likes."""
    with own_server() as server:
        yield server


@pytest.fixture
def network(fragile: Server) -> Iterator[ProxyThread]:
    """What leads to the fragile server, with a network's faults."""
    with proxy_thread(fragile.host, fragile.port) as proxy:
        yield proxy


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A primary, its replica and a sentinel, for one test."""
    with own_watched() as watched:
        yield watched


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> Iterator[str]:
    """What the names of this test's keys begin with; they are gone when it ends."""
    prefix = f"test:{os.urandom(6).hex()}:"
    yield prefix
    endpoints: list[Endpoint] = []
    if "server" in request.fixturenames:
        endpoints.append(request.getfixturevalue("server"))
    if "cluster" in request.fixturenames:
        endpoints += request.getfixturevalue("cluster").nodes
    for endpoint in endpoints:
        with endpoint.client() as client:
            for key in client.scan_iter(f"{prefix}*", count=1000):
                client.unlink(key)
