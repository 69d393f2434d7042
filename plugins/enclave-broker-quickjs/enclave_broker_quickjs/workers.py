"""The pool of worker processes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio

from enclave_broker_core.errors import RunError, RuntimeBusyError

from .config import QuickJSConfig
from .worker import Worker, WorkerDiedError


class Workers:
    """At most ``config.workers`` of them, each for one run at a time; a dead one is replaced.

    ``started`` counts the processes that there have been, ``build`` is the version of their
    sandbox.
    """

    def __init__(self, config: QuickJSConfig) -> None:
        self._config = config
        self._places = anyio.Semaphore(config.workers, fast_acquire=True)
        self._idle: deque[Worker] = deque()
        self._all: set[Worker] = set()
        self._runs = 0
        self.started = 0
        self.build = b""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: QuickJSConfig) -> AsyncIterator[Workers]:
        workers = cls(config)
        try:
            first = await workers._another()
            workers.build = first.build
            workers._idle.append(first)
            yield workers
        finally:
            for worker in tuple(workers._all):
                await worker.close()

    async def take(self, *, patient: bool = False) -> Worker:
        """A worker, until ``give_back``.

        RuntimeBusyError when none is free in ``queue_wait`` seconds; ``patient`` waits on.
        RunError when no process can be started.
        """
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(None if patient else self._config.queue_wait) as waiting:
                await self._places.acquire()
            if waiting.cancelled_caught:
                raise RuntimeBusyError(
                    f"all {self._config.workers} workers of the sandbox are taken",
                    retry_after=self._config.queue_wait,
                ) from None
        try:
            # The one that has been free longest: the others may still be tidying up.
            while self._idle:
                worker = self._idle.popleft()
                if not worker.lost:
                    return worker
                await self._bury(worker)
            return await self._another()
        except BaseException:
            self._places.release()
            raise

    def counts(self) -> Mapping[str, int]:
        """How many there may be, how many are taken, and how many runs wait for one."""
        places = self._places.statistics()
        free = self._places.value
        return {
            "workers": self._config.workers,
            "busy": self._config.workers - free,
            "waiting": places.tasks_waiting,
        }

    def give_back(self, worker: Worker) -> None:
        self._idle.append(worker)
        self._places.release()

    def number(self) -> int:
        """A number that no other run has."""
        self._runs += 1
        return self._runs

    async def _another(self) -> Worker:
        worker = Worker()
        self._all.add(worker)
        self.started += 1
        try:
            await worker.start()
        except WorkerDiedError:
            await self._bury(worker)
            raise RunError("a worker of the sandbox could not be started") from None
        except BaseException:
            await self._bury(worker)
            raise
        return worker

    async def _bury(self, worker: Worker) -> None:
        await worker.close()
        self._all.discard(worker)
