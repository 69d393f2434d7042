"""Worker threads for plain handlers, and the account of those that refuse to stop."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

import anyio.to_thread

from .errors import ToolError


class Threads:
    """Runs plain functions in worker threads, at most ``max_threads`` at a time.

    A thread can't be stopped from outside: when its call is cancelled the caller goes on
    and the thread is abandoned. ``abandoned`` counts those that still run; when there
    are ``max_abandoned``, new calls of plain handlers are refused until some have ended.
    """

    def __init__(self, max_threads: int = 40, max_abandoned: int = 20) -> None:
        self._limiter = anyio.CapacityLimiter(max_threads)
        self._max_abandoned = max_abandoned
        self._lock = threading.Lock()
        self._abandoned = 0

    @property
    def abandoned(self) -> int:
        return self._abandoned

    async def run(self, function: Callable[..., Any], keywords: Mapping[str, Any]) -> Any:
        if self._abandoned >= self._max_abandoned:
            raise ToolError(
                f"{self._abandoned} handlers are past their deadline and still hold their"
                " threads; no more are started until some of them end"
            )
        job = _Job(self, function, keywords)
        try:
            result = await anyio.to_thread.run_sync(
                job.work, abandon_on_cancel=True, limiter=self._limiter
            )
        except anyio.get_cancelled_exc_class():
            job.abandon()
            raise
        result = result[0]
        return await result if inspect.isawaitable(result) else result


class _Job:
    """One call in a thread: knows whether its caller is still there."""

    __slots__ = ("_function", "_keywords", "_state", "_threads")

    def __init__(
        self, threads: Threads, function: Callable[..., Any], keywords: Mapping[str, Any]
    ) -> None:
        self._threads = threads
        self._function = function
        self._keywords = keywords
        self._state = "waiting"

    def work(self) -> tuple[Any]:
        """The result in a tuple: trio lets no coroutine out of a thread."""
        with self._threads._lock:
            if self._state == "abandoned":
                return (None,)
            self._state = "running"
        try:
            return (self._function(**self._keywords),)
        finally:
            with self._threads._lock:
                if self._state == "abandoned":
                    self._threads._abandoned -= 1
                self._state = "done"

    def abandon(self) -> None:
        with self._threads._lock:
            if self._state == "running":
                self._threads._abandoned += 1
            if self._state != "done":
                self._state = "abandoned"
