"""Connections to the servers that the configuration names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from .config import ServerConfig

Address = tuple[str, int]

# What connecting and talking can raise.
BROKEN = (RedisError, OSError, TimeoutError)


class Servers:
    """Makes connections as configured; ``timeout`` bounds each, with all that it begins with."""

    def __init__(self, config: ServerConfig) -> None:
        self.timeout = config.timeout
        options: dict[str, Any] = {**parse_url(config.url.get_secret_value())}
        self._kind: type[AbstractConnection] = options.pop("connection_class", Connection)
        self._address = (options.pop("host", "localhost"), options.pop("port", 6379))
        if config.username is not None:
            options["username"] = config.username
        if config.password is not None:
            options["password"] = config.password.get_secret_value()
        usual = {
            "socket_timeout": None,
            "socket_connect_timeout": config.timeout,
            "protocol": 2,
            # A user may be allowed nothing but what is needed.
            "driver_info": None,
        }
        self._options = options | usual | self._tls(config)
        self._service = ""
        self._sentinel: Sentinel | None = None
        if config.sentinel is not None:
            asked = config.sentinel
            self._service = asked.service
            password = asked.password and asked.password.get_secret_value()
            who = {"username": asked.username, "password": password}
            self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
                [address_of(server) for server in asked.servers],
                sentinel_kwargs={**usual, **who, "socket_timeout": config.timeout},
            )
        self.nodes: Sequence[Address] = (self._address, *map(address_of, config.nodes))

    def _tls(self, config: ServerConfig) -> dict[str, Any]:
        if self._kind is not SSLConnection:
            return {}
        tls = config.tls
        return {
            "ssl_ca_certs": tls.ca_file,
            "ssl_certfile": tls.cert_file,
            "ssl_keyfile": tls.key_file,
            "ssl_check_hostname": tls.check_hostname,
        }

    def name(self, address: Address | None = None) -> str:
        """How people know the server; nothing in it is secret."""
        if address is None and self._service:
            return f"the primary of {self._service!r}"
        if address is None and self._kind is UnixDomainSocketConnection:
            return f"the Redis server at {self._options['path']}"
        host, port = address or self._address
        return f"the Redis server at {host}:{port}"

    async def connect(self, address: Address | None = None) -> AbstractConnection:
        """A connection that is ready; to the server itself when no node is named."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._connect(address)
        except TimeoutError:
            raise TimeoutError(f"no connection in {self.timeout:g} s") from None

    async def _connect(self, address: Address | None) -> AbstractConnection:
        if address is None and self._sentinel is not None:
            address = await self._sentinel.discover_master(self._service)
        where: dict[str, Any] = {}
        if self._kind is not UnixDomainSocketConnection:
            host, port = address or self._address
            where = {"host": host, "port": port}
        connection = self._kind(**self._options, **where)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    @asynccontextmanager
    async def connected(self, address: Address | None = None) -> AsyncIterator[AbstractConnection]:
        connection = await self.connect(address)
        try:
            yield connection
        finally:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        if self._sentinel is not None:
            for client in self._sentinel.sentinels:
                await client.aclose()


def address_of(text: str) -> Address:
    """The parts of ``host:port``."""
    parts = urlsplit(f"//{text}")
    return str(parts.hostname), parts.port or 0
