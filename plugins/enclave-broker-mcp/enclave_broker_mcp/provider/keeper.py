"""Keeps a server connected: starts it, lists its tools, notices changes, and starts it anew."""

from __future__ import annotations

import logging
import math
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from enclave_broker_core.contracts import ToolContext
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.redaction import Redactor

from .catalog import Compiled
from .config import McpConfig
from .connection import Connection
from .definitions import Definition
from .errors import ServerDownError, ServerError
from .health import BackOff, Health

_log = logging.getLogger(__name__)

# A connection that broke sooner than this, in seconds, counts as one that failed.
STEADY = 10.0
# Between two listings, in seconds, and so many times the time that the last one took.
LISTING_PAUSE = 0.5
LISTING_SHARE = 10.0

# How long, in seconds, a server may take to say that it will tell of changes.
LISTENING = 5.0

Connect = Callable[[], AbstractAsyncContextManager[Connection]]
Take = Callable[[Sequence[Definition], bool], Awaitable[None]]
"""Is given the tools that a server lists, and whether there are more that were not taken."""


class Keeper:
    """Holds the connection of one server. ``health`` says how it is doing."""

    def __init__(self, config: McpConfig, connect: Connect, take: Take, redactor: Redactor) -> None:
        self.health = Health("unhealthy", "it has not been started yet")
        self.tried = anyio.Event()
        self._config = config
        self._connect = connect
        self._take = take
        self._redactor = redactor
        self._back_off = BackOff(random.random)
        self._connection: Connection | None = None
        self._closing = anyio.Event()
        self._closed = anyio.Event()
        self._next_at = 0.0
        self._since = 0.0

    async def call(self, tool: Compiled, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """Call a tool over the connection that there is. ServerDownError when there is none."""
        connection = self._connection
        if connection is None or connection.ended.is_set():
            reason = self.health.reason if connection is None else connection.ending.reason
            raise ServerDownError(
                f"{self._config.name} can't be reached now: {reason}",
                retry_after=max(1.0, self._next_at - time.monotonic()),
            )
        return await connection.call(tool, arguments, context)

    async def run(self) -> None:
        """Until it is cancelled. Nothing that a server does ends it."""
        failures = 0
        while not self._closing.is_set():
            self._since = math.inf
            reason = await self._try()
            lasted = time.monotonic() - self._since >= STEADY
            if self._closing.is_set():
                break
            failures = 1 if lasted else failures + 1
            seconds = self._back_off.after(failures)
            self._next_at = time.monotonic() + seconds
            self._down(reason, failures, seconds)
            self.tried.set()
            with anyio.move_on_after(seconds):
                await self._closing.wait()
        self._closed.set()

    async def close(self) -> None:
        """End the connection in its own way, and ``run`` with it."""
        self._closing.set()
        if self._connection is not None:
            self._connection.end("the broker needs it no more")
            await self._closed.wait()

    async def _try(self) -> str:
        """One connection, from its beginning to its end; why it ended."""
        seconds = self._config.start_timeout
        try:
            with anyio.move_on_after(seconds) as starting:
                async with self._connect() as connection, anyio.create_task_group() as tasks:
                    tasks.start_soon(connection.listen)
                    with anyio.move_on_after(LISTENING):
                        await connection.listening.wait()
                    await self._list(connection)
                    starting.deadline = math.inf
                    tasks.start_soon(self._follow, connection)
                    self._up(connection)
                    try:
                        await connection.ended.wait()
                    finally:
                        self._connection = None
                    tasks.cancel_scope.cancel()
                return connection.ending.reason
        except BrokerError as problem:
            return problem.message
        except Exception as problem:
            # Of what nobody thought of, the next connection may be free.
            found = _first(problem)
            if isinstance(found, BrokerError):
                return found.message
            trace = self._redactor.text("".join(traceback.format_exception(problem)))
            _log.error("the connection to %s failed\n%s", self._config.name, trace.rstrip())
            return f"the connection failed: {type(found).__name__}"
        return f"it did not start within {seconds:g} s"

    async def _follow(self, connection: Connection) -> None:
        """List the tools again when they changed, and now and then without being told."""
        while True:
            with anyio.move_on_after(self._config.refresh or math.inf):
                await connection.changed.wait()
            connection.changed = anyio.Event()
            before = time.monotonic()
            try:
                with anyio.fail_after(self._config.start_timeout):
                    await self._list(connection)
            except TimeoutError:
                connection.end("it took too long to list its tools")
            except ServerError as problem:
                connection.end(problem.message)
            took = time.monotonic() - before
            await anyio.sleep(max(LISTING_PAUSE, LISTING_SHARE * took))

    async def _list(self, connection: Connection) -> None:
        definitions, more = await connection.list_tools()
        await self._take(definitions, more)

    def _up(self, connection: Connection) -> None:
        self._connection = connection
        if self.tried.is_set():
            _log.info("%s is connected", self._config.name)
        self._since = time.monotonic()
        self.health = Health("healthy")
        self.tried.set()

    def _down(self, reason: str, failures: int, seconds: float) -> None:
        before = self.health
        known = before.state != "unhealthy" or before.reason == ""
        self.health = Health("stale" if known else "unhealthy", reason, failures)
        if failures == 1 or before.reason != reason:
            kept = "its tools stay as they were" if known else "it has no tools yet"
            _log.warning(
                "%s: %s; %s, tried again in %.1f s", self._config.name, reason, kept, seconds
            )


def _first(problem: BaseException) -> BaseException:
    """Of a group the first that is in it."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem
