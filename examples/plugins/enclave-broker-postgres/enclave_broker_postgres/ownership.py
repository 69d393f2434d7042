"""One broker has a schema: nobody else ends its sessions, or waits in vain for its events.

Who opens the schema takes an advisory lock of the server's, and holds it as long as one
connection lives. A broker that was cut off may find that another has come; the row in ``broker``
says who came last, and whose sessions were open then have been ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import anyio
import psycopg
from enclave_broker_core.errors import StoreError

from .config import PostgresConfig
from .connections import Connection, Connections
from .tables import make_tables

# The server may take a moment to see that who had it is gone: a broker that was closed or killed
# just now is not in the way of the next.
SECONDS = 0.5
PATIENCE = "SELECT set_config('lock_timeout', %s, false)"
LOCK = "SELECT pg_advisory_lock(hashtextextended('enclave-broker ' || %s, 0))"


class Ownership:
    """``id`` is what ``broker.owner`` says while the schema is this broker's."""

    def __init__(self, config: PostgresConfig, connections: Connections) -> None:
        self._schema = config.schema_
        self._patience = f"{round(1000 * min(SECONDS, config.timeout / 2))}ms"
        self._connections = connections
        self._connection: Connection | None = None
        self._one = anyio.Lock()
        self.id: UUID = uuid4()

    async def take(self) -> None:
        """Take the schema over from who had it; StoreError when somebody has it."""
        async with self._one:
            with self._connections.failures(), anyio.CancelScope(shield=True):
                connection = await self._lock()
                with self._connections.in_time(connection):
                    await make_tables(connection, self._schema)
                    await connection.execute("UPDATE broker SET owner = %s", (self.id,))

    async def keep(self) -> None:
        """Take the lock anew when its connection was lost; StoreError when another has it."""
        async with self._one:
            with self._connections.failures(), anyio.CancelScope(shield=True):
                try:
                    row = await self._owner()
                except psycopg.OperationalError:
                    await self._drop()
                    row = await self._owner()
                except BaseException:
                    await self._drop()
                    raise
                self.require(row)

    def require(self, row: tuple[object, ...] | None) -> None:
        """StoreError when the row of ``broker`` names another."""
        if row is None or row[0] != self.id:
            raise StoreError(f"another broker has taken the schema {self._schema!r} over")

    async def close(self) -> None:
        await self._drop()

    async def _owner(self) -> tuple[object, ...] | None:
        connection = await self._lock()
        with self._connections.in_time(connection):
            return await (await connection.execute("SELECT owner FROM broker")).fetchone()

    async def _lock(self) -> Connection:
        if self._connection is not None:
            return self._connection
        connection = await self._connections.connect()
        try:
            with self._connections.in_time(connection):
                await connection.execute(PATIENCE, (self._patience,))
                await connection.execute(LOCK, (self._schema,))
        except psycopg.errors.LockNotAvailable:
            await connection.close()
            raise StoreError(
                f"another broker has the schema {self._schema!r}: each needs its own"
            ) from None
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


@asynccontextmanager
async def open_ownership(
    config: PostgresConfig, connections: Connections
) -> AsyncIterator[Ownership]:
    ownership = Ownership(config, connections)
    try:
        await ownership.take()
        yield ownership
    finally:
        with anyio.CancelScope(shield=True):
            await ownership.close()
