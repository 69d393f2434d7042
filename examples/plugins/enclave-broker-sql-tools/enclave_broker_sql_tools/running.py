"""Work on a connection, in a thread that is always waited for and can be told to stop.

SQLAlchemy's asynchronous engines run on asyncio only. Threads do on every loop; what they need
is that whoever is cancelled ends the statement, and not only the waiting for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .databases import Database

T = TypeVar("T")
log = logging.getLogger(__name__)

# Seconds between two tries to get a lock, and between two tries to interrupt.
PAUSE = 0.02


class StoppedError(Exception):
    """It was told to stop: whoever asked is gone."""


class Work(Generic[T]):
    """One transaction, from a connection of the pool to its commit."""

    def __init__(
        self,
        database: Database,
        job: Callable[[Connection], T],
        *,
        read_only: bool,
        seconds: float,
    ) -> None:
        self._database = database
        self._job = job
        self._read_only = read_only
        self._seconds = seconds
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._raw: Any = None

    def run(self) -> T:
        """Do it. What the driver raises comes as a DBAPIError, and nothing is changed then."""
        until = time.monotonic() + self._seconds
        while True:
            try:
                return self._attempt()
            except DBAPIError as problem:
                waits = isinstance(problem.orig, Exception) and self._database.waits(problem.orig)
                if not waits or time.monotonic() > until or self._stopped.wait(PAUSE):
                    raise

    def _attempt(self) -> T:
        with self._database.engine.connect() as connection:
            self._hold(connection.connection.driver_connection)
            try:
                self._database.begin(connection, read_only=self._read_only, seconds=self._seconds)
                answer = self._job(connection)
                # From here on it is done, whoever is cancelled.
                self._hold(None)
                connection.commit()
                return answer
            finally:
                with self._lock:
                    self._raw = None
                    if self._stopped.is_set():
                        # An interrupt that is still on its way must meet nobody else's work.
                        connection.invalidate()

    def _hold(self, raw: Any) -> None:
        with self._lock:
            if self._stopped.is_set():
                raise StoppedError
            self._raw = raw

    def interrupt(self) -> None:
        """Have it end soon; from another thread, and again if it did not."""
        with self._lock:
            self._stopped.set()
            if self._raw is not None:
                try:
                    self._database.interrupt(self._raw)
                except Exception as problem:
                    log.warning("a query could not be cancelled: %s", type(problem).__name__)


class Runner:
    """Runs work for one provider; ``running`` counts what has a thread now."""

    def __init__(self, database: Database, connections: int) -> None:
        self.database = database
        self.running = 0
        # Whoever waits for a connection waits here, and can be cancelled.
        self._seats = CapacityLimiter(connections)
        self._interrupts = CapacityLimiter(connections)

    async def run(self, job: Callable[[Connection], T], *, read_only: bool, seconds: float) -> T:
        """What ``job`` answers, or raises. Cancelled, it returns when the statement has ended."""
        work = Work(self.database, job, read_only=read_only, seconds=seconds)
        answers: list[T] = []
        problems: list[Exception] = []
        done = anyio.Event()

        async def in_thread() -> None:
            self.running += 1
            try:
                answers.append(await to_thread.run_sync(work.run, limiter=self._threads()))
            except Exception as problem:
                problems.append(problem)
            finally:
                self.running -= 1
                done.set()

        async with self._seats, anyio.create_task_group() as group:
            group.start_soon(in_thread)
            try:
                await done.wait()
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    while not done.is_set():
                        await to_thread.run_sync(work.interrupt, limiter=self._interrupts)
                        with anyio.move_on_after(PAUSE):
                            await done.wait()
                raise
        if problems:
            raise problems[0]
        return answers[0]

    def _threads(self) -> CapacityLimiter:
        """A seat is taken already; a thread of its own comes with it."""
        return CapacityLimiter(1)
