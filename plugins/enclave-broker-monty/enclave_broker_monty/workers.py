"""The pool of sandbox processes: taking one, giving it back, and a clean end."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from pydantic_monty import (
    AsyncMonty,
    AsyncMontySession,
    ExternalModule,
    OSPolicy,
    ResourceLimits,
)

from enclave_broker_core.errors import RuntimeBusyError

from .config import MontyConfig

_log = logging.getLogger(__name__)

Modules = Mapping[str, Callable[[], Awaitable[ExternalModule]]]

CLEAN_UP = 10.0
"""Seconds that giving a worker back may take; a healthy one needs a millisecond."""


class Workers:
    """At most ``config.workers`` processes, each for one run at a time.

    One more, from the first parked run on, runs nothing and looks at dumps. A worker is given
    back beside whatever goes on: a fifth of a short run, for which no result has to wait.
    """

    def __init__(self, pool: AsyncMonty, viewers: AsyncMonty, config: MontyConfig) -> None:
        self._pool = pool
        self._viewers = viewers
        self._config = config
        self._returning: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, config: MontyConfig) -> AsyncIterator[Workers]:
        pool = AsyncMonty(
            min_processes=1,
            max_processes=config.workers,
            checkout_timeout=config.queue_wait,
        )
        viewers = AsyncMonty(min_processes=0, max_processes=1)
        async with pool, viewers:
            workers = cls(pool, viewers, config)
            try:
                yield workers
            finally:
                await workers._all_returned()
        await _native_threads_leave_python()

    async def take(
        self,
        *,
        limits: ResourceLimits,
        modules: Modules,
        stubs: str | None = None,
        patient: bool = False,
    ) -> AsyncMontySession:
        """A worker with an empty sandbox, until ``give_back``; type-checked with ``stubs``.

        RuntimeBusyError when none is free in ``queue_wait`` seconds; ``patient`` waits on.
        """
        while True:
            worker = self._pool.checkout(
                limits=limits,
                external_modules=modules,
                os_policy=_os_policy(),
                type_check=stubs is not None,
                type_check_stubs=stubs,
                type_check_format="concise",
            )
            try:
                return await worker.__aenter__()
            except TimeoutError:
                if not patient:
                    wait = self._config.queue_wait
                    raise RuntimeBusyError(
                        f"all {self._config.workers} workers of the sandbox are taken",
                        retry_after=wait,
                    ) from None

    async def take_viewer(self) -> AsyncMontySession:
        """An empty sandbox that a dump can be restored in, also when all workers are taken."""
        return await self._viewers.checkout(os_policy=_os_policy()).__aenter__()

    def give_back(self, worker: AsyncMontySession) -> None:
        """Let the pool have it again; by a task that no cancellation of the run reaches."""
        task = asyncio.get_running_loop().create_task(_return(worker))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _all_returned(self) -> None:
        if self._returning:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(tuple(self._returning))


async def _return(worker: AsyncMontySession) -> None:
    try:
        async with asyncio.timeout(CLEAN_UP):
            await worker.__aexit__(None, None, None)
    except Exception:
        _log.exception("a worker of the sandbox could not be given back")


async def _native_threads_leave_python(patience: float = 2.0) -> None:
    """Return when no native thread is on its way back from waking this loop.

    Up to Python 3.13 a thread that wants the interpreter's lock while the interpreter
    ends is terminated by pthread_exit, and in a thread of pydantic-monty that aborts the
    process. Such a thread stands in ``call_soon_threadsafe``: writing the wake-up byte
    gives the lock away, and the loop may close and the program end before the thread has
    it again. So look where the threads are, and let go of the lock until none is there.
    """
    with anyio.move_on_after(patience):
        while any(map(_is_waking_a_loop, _frames_of_other_threads())):  # noqa: ASYNC110
            await anyio.sleep(0.001)


def _frames_of_other_threads() -> list[Any]:
    own = threading.get_ident()
    return [frame for thread, frame in sys._current_frames().items() if thread != own]


def _is_waking_a_loop(frame: Any) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "call_soon_threadsafe":
            return True
        frame = frame.f_back
    return False


def _os_policy() -> OSPolicy:
    """Sleeps are host calls, so that they end with the run and can be parked."""
    return {"sleep": "call_host"}
