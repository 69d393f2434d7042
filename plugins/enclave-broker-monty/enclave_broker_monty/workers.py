"""The pool of sandbox processes: taking one, giving it back, and a clean end."""

from __future__ import annotations

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

Modules = Mapping[str, Callable[[], Awaitable[ExternalModule]]]

CLEAN_UP = 10.0
"""Seconds that giving a worker back may take; a healthy one needs a millisecond."""


class Workers:
    """At most ``config.workers`` processes, each for one run at a time.

    One more, from the first parked run on, runs nothing and looks at dumps.
    """

    def __init__(self, pool: AsyncMonty, viewers: AsyncMonty, config: MontyConfig) -> None:
        self._pool = pool
        self._viewers = viewers
        self._config = config

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
            yield cls(pool, viewers, config)
        await _native_threads_leave_python()

    @asynccontextmanager
    async def checkout(
        self,
        *,
        limits: ResourceLimits,
        modules: Modules,
        stubs: str | None = None,
        patient: bool = False,
    ) -> AsyncIterator[AsyncMontySession]:
        """A worker with an empty sandbox; type-checked when ``stubs`` are given.

        RuntimeBusyError when none is free in ``queue_wait`` seconds; ``patient`` waits on.
        """
        checkout, session = await self._take(limits, modules, stubs, patient)
        try:
            yield session
        finally:
            await _give_back(checkout)

    @asynccontextmanager
    async def viewer(self) -> AsyncIterator[AsyncMontySession]:
        """An empty sandbox that a dump can be restored in, also when all workers are taken."""
        checkout = self._viewers.checkout(os_policy=_os_policy())
        session = await checkout.__aenter__()
        try:
            yield session
        finally:
            await _give_back(checkout)

    async def _take(
        self, limits: ResourceLimits, modules: Modules, stubs: str | None, patient: bool
    ) -> tuple[AsyncMontySession, AsyncMontySession]:
        while True:
            checkout = self._pool.checkout(
                limits=limits,
                external_modules=modules,
                os_policy=_os_policy(),
                type_check=stubs is not None,
                type_check_stubs=stubs,
                type_check_format="concise",
            )
            try:
                return checkout, await checkout.__aenter__()
            except TimeoutError:
                if not patient:
                    wait = self._config.queue_wait
                    raise RuntimeBusyError(
                        f"all {self._config.workers} workers of the sandbox are taken",
                        retry_after=wait,
                    ) from None


async def _give_back(checkout: AsyncMontySession) -> None:
    # Also after a cancellation: the pool must get to know that its worker is free.
    with anyio.move_on_after(CLEAN_UP, shield=True):
        await checkout.__aexit__(None, None, None)


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
