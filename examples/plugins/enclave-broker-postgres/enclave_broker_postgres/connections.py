"""Connections to the server: how many, how long something may take, and what goes wrong."""

from __future__ import annotations

import math
import os
import socket
from asyncio import get_running_loop
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

import anyio
import psycopg
from enclave_broker_core.errors import ConfigError, StoreError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from .config import PostgresConfig

T = TypeVar("T")
Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
Work: TypeAlias = Callable[[Connection], Awaitable[T]]

RETRY_AFTER = 1.0
# Of SQLSTATE: the connection failed; the server ends it, or is not ready for one.
GONE = ("08", "57P")


class Connections:
    """At most so many, opened when there is work for them and kept until one fails."""

    def __init__(self, config: PostgresConfig, conninfo: dict[str, Any]) -> None:
        self._conninfo = conninfo
        self._timeout = config.timeout
        self._places = anyio.Semaphore(config.connections)
        self._idle: list[Connection] = []

    async def connect(self) -> Connection:
        """A connection that is the caller's to close."""
        with anyio.fail_after(self._timeout):
            return await psycopg.AsyncConnection.connect(**self._conninfo, autocommit=True)

    async def run(self, work: Work[T], *, repeatable: bool = False) -> T:
        """What ``work`` returns, done in one transaction; StoreError when the server fails.

        ``repeatable`` work is one statement that may run twice, or that is prepared for it: it is
        a transaction as it is, in one trip. Whoever is cancelled before it began has done
        nothing; from then on it is finished, or given up after ``timeout`` seconds.
        """
        with self.failures():
            with anyio.fail_after(self._timeout):
                await self._places.acquire()
            try:
                with anyio.fail_after(None, shield=True):  # in_time() has the time
                    return await self._run(work, repeatable)
            finally:
                self._places.release()

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Every error of the server as a StoreError that says what it is, and shows no value."""
        try:
            yield
        except TimeoutError:
            raise StoreError(
                f"PostgreSQL did not answer within {self._timeout:g} s", retry_after=RETRY_AFTER
            ) from None
        except (psycopg.Error, OSError) as error:
            raise StoreError(f"PostgreSQL: {_told(error)}", retry_after=RETRY_AFTER) from None

    @contextmanager
    def in_time(self, connection: Connection) -> Iterator[None]:
        """TimeoutError when it takes too long. It must not be cancelled: the driver would then
        ask the server to stop, wait for its answer, and not bear being cancelled once more.
        """
        over = False

        def cut() -> None:
            nonlocal over
            over = True
            with (
                suppress(psycopg.Error, OSError),
                socket.socket(fileno=os.dup(connection.fileno())) as line,
            ):
                line.shutdown(socket.SHUT_RDWR)

        timer = get_running_loop().call_later(self._timeout, cut)
        try:
            yield
        except psycopg.OperationalError:
            if over:
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def _run(self, work: Work[T], repeatable: bool) -> T:
        while True:
            kept = bool(self._idle)
            connection = self._idle.pop() if kept else await self.connect()
            begun = False
            try:
                with self.in_time(connection):
                    if repeatable:
                        return await work(connection)
                    async with connection.transaction():
                        begun = True
                        return await work(connection)
            except psycopg.OperationalError as error:
                if not is_gone(connection, error):
                    raise
                # The others were cut with it. One that was kept may have been cut long ago.
                await connection.close()
                await self.close()
                if begun or not kept:
                    raise
            finally:
                if connection.info.transaction_status is TransactionStatus.IDLE:
                    self._idle.append(connection)
                else:
                    await connection.close()


def is_gone(connection: Connection, error: psycopg.Error) -> bool:
    return connection.closed or (error.sqlstate or "").startswith(GONE)


def _told(error: psycopg.Error | OSError) -> str:
    """One line: further ones may show the values that were written."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    return next(iter(str(error).splitlines()), type(error).__name__)


@asynccontextmanager
async def open_connections(config: PostgresConfig) -> AsyncIterator[Connections]:
    try:
        conninfo = conninfo_to_dict(config.url.get_secret_value())
    except psycopg.ProgrammingError:
        # What is wrong with it would be told with a part of it.
        raise ConfigError("url is neither a PostgreSQL URL nor words of key=value") from None
    if config.password is not None:
        conninfo["password"] = config.password.get_secret_value()
    conninfo["connect_timeout"] = max(2, math.ceil(config.timeout))
    conninfo["options"] = (
        f"-c search_path={config.schema_} -c statement_timeout={round(config.timeout * 1000)}"
    )
    connections = Connections(config, conninfo)
    try:
        yield connections
    finally:
        with anyio.CancelScope(shield=True):
            await connections.close()
