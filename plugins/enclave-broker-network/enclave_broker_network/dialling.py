"""Connects to the very addresses that the guard has judged, under httpcore's pool."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import anyio
import certifi
import httpcore

from .guard import Guard
from .rules import NetworkRules

# How long an idle connection is kept; most servers keep theirs for longer.
KEPT_SECONDS = 4.0


class Dialler(httpcore.AsyncNetworkBackend):
    """A name is looked up once, and connected to by address; the pool never looks it up.

    The addresses are tried in their order, within the time for connecting as a whole.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError("there is no address")
        with anyio.move_on_after(timeout):
            for address in await self._guard.addresses(host, port):
                try:
                    return await self._backend.connect_tcp(
                        address, port, local_address=local_address, socket_options=socket_options
                    )
                except httpcore.ConnectError as problem:
                    failure = problem
            raise failure
        raise httpcore.ConnectTimeout

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


def make_pool(rules: NetworkRules, guard: Guard) -> httpcore.AsyncConnectionPool:
    """A pool that connects through the guard, without proxies."""
    return httpcore.AsyncConnectionPool(
        ssl_context=_trust(rules.ca_file),
        max_connections=rules.max_connections,
        max_keepalive_connections=rules.max_connections,
        keepalive_expiry=KEPT_SECONDS,
        network_backend=Dialler(guard),
    )


def _trust(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context
