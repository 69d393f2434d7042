"""What the suites check alike of all kinds of parts: patience, cancellation, what is logged."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, ClassVar, TypeVar

import anyio
from anyio import TaskInfo
from anyio.lowlevel import checkpoint

from .suite import Suite

T = TypeVar("T")


class PatientSuite(Suite):
    """``patience`` is after how many seconds a part that hangs is given up; none waits for it."""

    patience: ClassVar[float] = 10.0

    @asynccontextmanager
    async def patiently(self, opening: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Open a part for one test."""
        with anyio.fail_after(self.patience):
            async with opening as part:
                yield part


def sync_methods(part: object, *names: str) -> list[str]:
    """Those of the methods that are no coroutine functions."""
    return [name for name in names if not inspect.iscoroutinefunction(getattr(part, name, None))]


class Cancelled:
    """Awaits an answer, and cancels it where it waits for the so-manieth time.

    ``waits`` counts how often it waited, ``told`` is whether it heard of its cancellation.
    """

    def __init__(self, answer: Awaitable[Any], wait: int, scope: anyio.CancelScope) -> None:
        self._answer = answer
        self._wait = wait
        self._scope = scope
        self.waits = 0
        self.told = False

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self._answer.__await__()
        resume: Callable[[], Any] = lambda: next(steps)  # noqa: E731
        while True:
            try:
                waits_for = resume()
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self._wait:
                self._scope.cancel()
            try:
                resume = self._sending(steps, (yield waits_for))
            except BaseException as error:
                resume = self._throwing(steps, error)

    def _sending(self, steps: Any, value: Any) -> Callable[[], Any]:
        self._hear(getattr(value, "error", None))  # so does trio pass on an error
        return lambda: steps.send(value)

    def _throwing(self, steps: Any, error: BaseException) -> Callable[[], Any]:
        self._hear(error)
        return lambda: steps.throw(error)

    def _hear(self, error: BaseException | None) -> None:
        if self._scope.cancel_called and isinstance(error, anyio.get_cancelled_exc_class()):
            self.told = True


async def cancel_at_each_wait(ask: Callable[[], Awaitable[Any]], most: int = 12) -> None:
    """Ask anew for each place where an answer waits, and cancel it there.

    AssertionError when one hears of it and answers all the same, or leaves a task behind.
    What shields itself from cancellation hears of nothing, and is let finish.
    """
    await ask()  # what is made once, such as a connection, is made now
    async with nothing_left_running():
        for wait in range(1, most + 1):
            with anyio.CancelScope() as scope:
                asked = Cancelled(ask(), wait, scope)
                await asked
                assert not asked.told, f"cancelled where it waited ({wait}.), and it answered"
                if asked.waits < wait:
                    return


@asynccontextmanager
async def nothing_left_running() -> AsyncIterator[None]:
    """AssertionError when there are tasks at the end that were not there at the beginning."""
    before = {task.id for task in _running()}
    yield
    for _ in range(10):  # a task that was cancelled comes to its end
        await checkpoint()
    left = [task for task in _running() if task.id not in before]
    if left:
        await anyio.wait_all_tasks_blocked()
        now = {task.id for task in _running()}
        left = [task for task in left if task.id in now]
    assert [task.name for task in left] == []


def _running() -> list[TaskInfo]:
    """All tasks but those by which anyio runs a fixture: each of its steps is another."""
    return [
        task
        for task in anyio.get_running_tasks()
        if not getattr(task.coro, "__qualname__", "").startswith("TestRunner.")
    ]


class _Listener(logging.Handler):
    def __init__(self, hear: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.DEBUG)
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self._hear(record)


@contextmanager
def listening(hear: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Have ``hear`` called with all that is logged meanwhile, at whatever level."""
    listener, root = _Listener(hear), logging.getLogger()
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(listener)


@contextmanager
def logged() -> Iterator[list[str]]:
    """All that is logged meanwhile, with what comes with it."""
    texts: list[str] = []
    formatter = logging.Formatter()
    with listening(lambda record: texts.append(f"{formatter.format(record)} {vars(record)}")):
        yield texts


def told(problem: BaseException) -> str:
    """All that an error says to whoever prints or logs it, its causes' texts too."""
    parts = [repr(problem), str(problem), str(getattr(problem, "details", ""))]
    chain: BaseException | None = problem
    while chain is not None:
        parts.append("".join(traceback.format_exception_only(chain)))
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return "\n".join(parts)
