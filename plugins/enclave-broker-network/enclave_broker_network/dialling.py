"""Connects to the very addresses that the guard has judged, under httpcore's pool."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import certifi
import httpcore

from enclave_broker_core.errors import ConfigError

from .guard import Guard
from .rules import NetworkRules

# How long an idle connection is kept; most servers keep theirs for longer.
KEPT_SECONDS = 4.0


class Connection(httpcore.AsyncNetworkStream):
    """A connection whose reading can be ended from outside: see ``cut``."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, trust: Trust) -> None:
        self._inner = inner
        self._trust = trust
        self._cut = False

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Let a read fail meanwhile, at once and without waiting.

        httpcore reads a body by generators in generators. One that is left before its end is
        for the collector to close, which trio warns of; an error from below ends them all.
        """
        self._cut = True
        try:
            yield
        finally:
            self._cut = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._cut:
            raise httpcore.ReadError("the rest of the answer is not wanted")
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            with anyio.move_on_after(timeout):
                trusting = await self._trust.context()
                inner = await self._inner.start_tls(trusting, server_hostname)
                return Connection(inner, self._trust)
            raise httpcore.ConnectTimeout
        except BaseException:
            # httpcore would leave it open when it is cancelled here.
            with anyio.CancelScope(shield=True):
                await self.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class Dialler(httpcore.AsyncNetworkBackend):
    """A name is looked up once, and connected to by address; the pool never looks it up.

    The addresses are tried in their order; each has its share of the time that is left.
    """

    def __init__(self, guard: Guard, trust: Trust) -> None:
        self._guard = guard
        self._trust = trust
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with anyio.move_on_after(timeout) as scope:
            failure: Exception = httpcore.ConnectError("there is no address")
            addresses = await self._guard.addresses(host, port)
            for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
                share = (scope.deadline - anyio.current_time()) / left
                try:
                    inner = await self._backend.connect_tcp(
                        address,
                        port,
                        timeout=share,
                        local_address=local_address,
                        socket_options=socket_options,
                    )
                    return Connection(inner, self._trust)
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as problem:
                    failure = problem
            raise failure
        raise httpcore.ConnectTimeout

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class Trust:
    """Whose certificates are trusted. The usual ones are read when the first is needed.

    Reading them takes some fifty milliseconds, and many sources never use TLS.
    """

    def __init__(self, ca_file: str | None) -> None:
        self._context: ssl.SSLContext | None = None
        if ca_file is not None:
            try:
                self._context = _context(ca_file)
            except OSError as problem:
                raise ConfigError(f"ca_file {ca_file!r} can't be used: {problem}") from None

    async def context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = await anyio.to_thread.run_sync(_context, certifi.where())
        return self._context


def _context(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def make_pool(rules: NetworkRules, guard: Guard) -> httpcore.AsyncConnectionPool:
    """A pool that connects through the guard, without proxies. ConfigError for its ca_file."""
    return httpcore.AsyncConnectionPool(
        # It trusts nobody: whom to trust is the connection's to know.
        ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        max_connections=rules.max_connections,
        keepalive_expiry=KEPT_SECONDS,
        network_backend=Dialler(guard, Trust(rules.ca_file)),
    )
