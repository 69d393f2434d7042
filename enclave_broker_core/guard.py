"""Guards a coroutine: it can be stopped from outside, can be late, and can be let go.

A call must end when its session ends or its time is over, also when its handler won't.
A task or a cancel scope for each call would cost more than all the rest of the call, so
a guard drives the coroutine itself and does nothing until the coroutine first waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import time
from collections.abc import Coroutine, Generator, Iterator
from typing import Any, Protocol

import anyio

from .loops import running_loop


class StoppedError(Exception):
    """The coroutine was stopped by ``stop``."""


class LateError(Exception):
    """The coroutine took longer than it may."""


class LetGoError(Exception):
    """The coroutine did not end when it was stopped or late, and was let go."""


class ForeignCancelError(Exception):
    """The coroutine raised a cancellation that nobody had asked for."""


class Guarded:
    """The account of a broker's guards: how long one may take to stop, how many did not.

    ``grace`` is the time in seconds for cleaning up after a cancellation.
    """

    def __init__(self, grace: float = 2.0) -> None:
        self.grace = grace
        self.let_go_count = 0

    def let_go(self, coroutine: Coroutine[Any, Any, Any], *, close: bool) -> None:
        """Never resume the coroutine again, not even to close it at the program's end."""
        self.let_go_count += 1
        held = list(_awaited(coroutine))
        if close:
            with contextlib.suppress(BaseException):
                coroutine.close()
        for one in held:
            # The collector would close it; what swallows everything would run for ever.
            if getattr(one, "cr_frame", None) is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


def _awaited(coroutine: Any) -> Iterator[Any]:
    """The coroutine, what it awaits, what that awaits, and so on."""
    while coroutine is not None:
        yield coroutine
        coroutine = getattr(coroutine, "cr_await", None)


class Guard(Protocol):
    """Awaits a coroutine for up to ``seconds``: its result, its exception, or one of ours."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], guarded: Guarded, seconds: float | None = None
    ) -> None: ...
    def stop(self) -> None: ...
    def __await__(self) -> Generator[Any, Any, Any]: ...


def guard_class() -> type[Guard]:
    """The guard for the event loop that is running."""
    return ScopeGuard if running_loop() == "trio" else TaskGuard


class TaskGuard:
    """A guard on asyncio, by the cancellation of the task, as ``asyncio.timeout`` does it.

    Until the coroutine first waits there is nothing that could be cancelled, so a call
    that never waits costs no timer. The cancellation comes once; after ``grace`` it comes
    again, and a coroutine that is still there is let go.
    """

    __slots__ = (
        "_cancels",
        "_coroutine",
        "_due",
        "_giving_up",
        "_guarded",
        "_reason",
        "_seconds",
        "_task",
        "_timer",
    )

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], guarded: Guarded, seconds: float | None = None
    ) -> None:
        self._coroutine = coroutine
        self._guarded = guarded
        self._seconds = seconds
        self._reason: type[Exception] | None = None
        self._due = False
        self._task: asyncio.Task[Any] | None = None

    def stop(self) -> None:
        """Cancel the coroutine. What it has not finished then raises StoppedError."""
        self._request(StoppedError)

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            trap = self._coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        except asyncio.CancelledError:
            raise self._unasked(asyncio.current_task()) from None
        return (yield from self._wait(trap))

    def _wait(self, trap: Any) -> Generator[Any, Any, Any]:
        task = self._task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a guard was awaited outside a task")
        self._timer: asyncio.TimerHandle | None = None
        self._cancels = 0
        self._giving_up = False
        before = task.cancelling()
        if self._reason is not None:
            self._cancel()
        elif self._seconds is not None:
            self._timer = task.get_loop().call_later(self._seconds, self._request, LateError)
        send, throw = self._coroutine.send, self._coroutine.throw
        result: Any = None
        try:
            while True:
                try:
                    value = yield trap
                except BaseException as thrown:
                    if self._giving_up:
                        self._guarded.let_go(self._coroutine, close=True)
                        raise LetGoError from None
                    trap = throw(thrown)
                else:
                    trap = send(value)
                if self._due:
                    self._due = False
                    self._cancel()
        except StopIteration as stop:
            result = stop.value
        except asyncio.CancelledError:
            if self._reason is None:
                raise self._unasked(task) from None
            if self._withdraw(task) > before:
                raise
            raise self._reason from None
        finally:
            self._task = None
            if self._timer is not None:
                self._timer.cancel()
            self._withdraw(task)
        if self._reason is not None:
            raise self._reason
        return result

    @staticmethod
    def _unasked(task: asyncio.Task[Any] | None) -> BaseException:
        """What to raise for a cancellation: passed on only when somebody cancelled the task."""
        if task is None or task.cancelling():
            return asyncio.CancelledError()
        return ForeignCancelError("it waited for something that was cancelled")

    def _request(self, reason: type[Exception]) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        if self._task is None:
            return
        if asyncio.current_task() is self._task:
            # It stops itself, from inside, and is cancelled where it next waits. If it ends
            # first, a cancellation would hit whatever its task waits for after it.
            self._due = True
        else:
            self._cancel()

    def _cancel(self) -> None:
        task = self._task
        if task is None:
            return
        self._cancels += 1
        task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = task.get_loop().call_later(self._guarded.grace, self._give_up)

    def _give_up(self) -> None:
        self._giving_up = True
        if self._task is not None:
            self._cancels += 1
            self._task.cancel()

    def _withdraw(self, task: asyncio.Task[Any]) -> int:
        """Take our cancellations back; how many others there are."""
        while self._cancels:
            self._cancels -= 1
            task.uncancel()
        return task.cancelling()


class ScopeGuard:
    """A guard on trio, by a cancel scope around the coroutine.

    The cancellation is there at every wait until the coroutine ends; one that still waits
    after ``grace`` is let go. What shields itself for ever can't be: trio has no way.
    """

    __slots__ = ("_coroutine", "_guarded", "_scope", "_stopped")

    MOST_WAKES = 1000

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], guarded: Guarded, seconds: float | None = None
    ) -> None:
        self._coroutine = coroutine
        self._guarded = guarded
        self._scope = anyio.CancelScope()
        if seconds is not None:
            self._scope.deadline = anyio.current_time() + seconds
        self._stopped = False

    def stop(self) -> None:
        """Cancel the coroutine. What it has not finished then raises StoppedError."""
        self._stopped = True
        self._scope.cancel()

    def __await__(self) -> Generator[Any, Any, Any]:
        result: Any = None
        let_go = False
        try:
            with self._scope:
                try:
                    result = yield from self._drive()
                except LetGoError:
                    let_go = True
        except RuntimeError:
            # The coroutine that was let go has left its own scopes open; trio says so.
            if not let_go:
                raise
        if let_go:
            raise LetGoError
        if self._scope.cancel_called:
            raise StoppedError if self._stopped else LateError
        return result

    def _drive(self) -> Generator[Any, Any, Any]:
        send, throw, scope = self._coroutine.send, self._coroutine.throw, self._scope
        give_up_at = float("inf")
        wakes = 0
        try:
            trap = send(None)
            while True:
                thrown: BaseException | None = None
                value: Any = None
                try:
                    value = yield trap
                except BaseException as error:
                    thrown = error
                if scope.cancel_called:
                    now = time.monotonic()
                    wakes += 1
                    if wakes == 1:
                        give_up_at = now + self._guarded.grace
                    elif now > give_up_at or wakes > self.MOST_WAKES:
                        # It must not run outside its task, so it can't be closed.
                        self._guarded.let_go(self._coroutine, close=False)
                        raise LetGoError
                trap = send(value) if thrown is None else throw(thrown)
        except StopIteration as stop:
            return stop.value
