"""One thread and the sandbox process that it works with."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

import anyio
from pydantic_monty import MontySession

_log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[], Any]


class Worker:
    """Does the steps of one run after the other, in a thread of its own.

    pydantic-monty's own asynchronous interface wakes the loop from its threads for every
    step; half of what that costs is saved by one thread that goes from one wait of the
    sandboxed code to the next.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._work: SimpleQueue[tuple[Work, asyncio.Future[Any] | None] | None] = SimpleQueue()
        self._process = Lock()
        self._pid: int | None = None
        self._killed = False
        self._session: MontySession | None = None
        # A program that ends without closing its broker is not held up by this thread.
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    # On the loop

    async def do(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises, done in the thread.

        When this is cancelled the sandbox's process is killed, and it returns when the
        thread has come to the end of the work.
        """
        try:
            return await self._put(work)
        except asyncio.CancelledError:
            self.kill()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._put(_nothing)])
            raise

    def _put(self, work: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        self._work.put((work, future))
        return future

    def leave_soon(self) -> None:
        """Give the process back to its pool; what is asked for next is done after that."""
        self._work.put((self.leave, None))

    def kill(self) -> None:
        """Kill the process, also one that is only being taken: what goes on in it fails."""
        with self._process:
            self._killed = True
            self._kill_process()

    def _kill_process(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def end(self) -> None:
        """Let the thread end after what has been asked for."""
        self._work.put(None)

    def join(self) -> None:
        """Return when the thread has ended."""
        self._thread.join()

    # In the thread

    @property
    def session(self) -> MontySession:
        """The sandbox that ``enter`` opened."""
        if self._session is None:
            raise RuntimeError("no sandbox is open")
        return self._session

    def enter(self, checkout: MontySession) -> None:
        """Take a process from the pool."""
        self._session = checkout.__enter__()
        with self._process:
            self._pid = self._session.worker_pid
            if self._killed:
                self._kill_process()

    def leave(self) -> None:
        """Give it back; another may take it at once, so it can't be killed any more."""
        session, self._session = self._session, None
        with self._process:
            self._pid, self._killed = None, False
        if session is not None:
            session.__exit__(None, None, None)

    def post(self, act: Callable[..., object], *args: Any) -> None:
        """Have the loop do something, after what was posted before."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(act, *args)

    def _serve(self) -> None:
        while (given := self._work.get()) is not None:
            work, future = given
            result: Any = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as problem:
                error = problem
            if future is not None:
                self.post(_settle, future, result, error)
            elif error is not None:
                _log.error("a sandbox could not be given back", exc_info=error)
            del given, work, future, result, error


def _nothing() -> None:
    """Is done when all that was asked for before has been done."""


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
