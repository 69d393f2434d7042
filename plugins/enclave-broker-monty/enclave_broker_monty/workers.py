"""The pool of sandbox processes, and of the threads that work with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from pydantic_monty import ExternalModule, Monty, MontySession, OSPolicy, ResourceLimits

from enclave_broker_core.errors import RuntimeBusyError

from .config import MontyConfig
from .worker import Worker

Modules = Mapping[str, Callable[[], ExternalModule]]


class Workers:
    """At most ``config.workers`` of them, each for one run at a time."""

    def __init__(self, pool: Monty, config: MontyConfig) -> None:
        self._pool = pool
        self._config = config
        self._places = anyio.Semaphore(config.workers, fast_acquire=True)
        self._idle: list[Worker] = []
        self._all: list[Worker] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, config: MontyConfig) -> AsyncIterator[Workers]:
        pool = Monty(min_processes=1, max_processes=config.workers)
        workers = cls(pool, config)
        first = workers._another()
        try:
            await first.do(pool.__enter__)
            workers._idle.append(first)
            try:
                yield workers
            finally:
                with anyio.CancelScope(shield=True):
                    # Once all have given their processes back.
                    await _ended(workers._all[1:])
                    await first.do(lambda: pool.__exit__(None, None, None))
        finally:
            with anyio.CancelScope(shield=True):
                await _ended([first])

    async def take(self, *, patient: bool = False) -> Worker:
        """A worker, until ``give_back``.

        RuntimeBusyError when none is free in ``queue_wait`` seconds; ``patient`` waits on.
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
        return self._idle.pop() if self._idle else self._another()

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
        """Let others have it. Its process goes back to the pool beside what goes on here."""
        worker.leave_soon()
        self._idle.append(worker)
        self._places.release()

    def checkout(
        self, *, limits: ResourceLimits, modules: Modules, stubs: str | None = None
    ) -> MontySession:
        """An empty sandbox for a worker to enter; type-checked when ``stubs`` are given."""
        return self._pool.checkout(
            limits=limits,
            external_modules=modules,
            os_policy=_os_policy(),
            type_check=stubs is not None,
            type_check_stubs=stubs,
            type_check_format="concise",
        )

    def _another(self) -> Worker:
        worker = Worker(asyncio.get_running_loop(), f"enclave-broker-monty-{len(self._all)}")
        self._all.append(worker)
        return worker


async def _ended(workers: Sequence[Worker]) -> None:
    """Return when their threads have ended."""
    for worker in workers:
        worker.end()
    for worker in workers:
        await anyio.to_thread.run_sync(worker.join)


def _os_policy() -> OSPolicy:
    """Sleeps are host calls, so that they end with the run and can be parked."""
    return {"sleep": "call_host"}
