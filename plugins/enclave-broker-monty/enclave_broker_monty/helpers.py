"""What goes on beside a run's code: tasks that end with the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio


class Helpers:
    """Starts tasks and owns them; ``failed`` is told of what one raises.

    A task group would do the same at a tenth of the price of a short run, and most runs need
    no helper at all. For asyncio only, as pydantic-monty is.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()
        self._scopes: set[anyio.CancelScope] = set()
        self._closed = False

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(self._do(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            work.close()
            return
        # Not made in start: that is called by the loop as well, where anyio makes no scope.
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await work
            except Exception as error:
                self._failed(error)
            finally:
                self._scopes.discard(scope)

    async def close(self) -> None:
        """Cancel all that still goes on and return when it has ended."""
        self._closed = True
        if self._tasks:
            for scope in self._scopes:
                scope.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait(tuple(self._tasks))
