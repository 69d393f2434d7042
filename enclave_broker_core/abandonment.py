"""Runs a handler's coroutine so that one which refuses to be cancelled can be let go."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Protocol

import sniffio


class Cancellation(Protocol):
    """The part of a cancel scope that is looked at here."""

    @property
    def cancel_called(self) -> bool: ...


class AbandonedError(Exception):
    """The handler swallowed its cancellation and was let go."""


class Abandoned:
    """The account of handlers that were let go: how many, and what is left of them."""

    def __init__(self) -> None:
        self.count = 0
        # What ignored even being closed is kept, or the collector would resume it again.
        self._left: list[Coroutine[Any, Any, Any]] = []

    def let_go(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.count += 1
        # A trio coroutine must not run outside its task, not even to close it.
        if sniffio.current_async_library() == "trio":
            self._left.append(coroutine)
            return
        try:
            coroutine.close()
        except BaseException:
            self._left.append(coroutine)


class Guarded:
    """Awaits a coroutine step by step, and lets it go when it won't end.

    Once ``scope`` is cancelled the coroutine has ``grace`` seconds, or ``MOST_WAKES``
    wakes, to come to its end. Then AbandonedError is raised in its place.
    """

    MOST_WAKES = 1000

    __slots__ = ("_abandoned", "_coroutine", "_grace", "_scope")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        scope: Cancellation,
        abandoned: Abandoned,
        grace: float,
    ) -> None:
        self._coroutine = coroutine
        self._scope = scope
        self._abandoned = abandoned
        self._grace = grace

    def __await__(self) -> Generator[Any, Any, Any]:
        send, throw, scope = self._coroutine.send, self._coroutine.throw, self._scope
        give_up_at: float | None = None
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
                    wakes += 1
                    now = time.monotonic()
                    if give_up_at is None:
                        give_up_at = now + self._grace
                    elif now > give_up_at or wakes > self.MOST_WAKES:
                        self._abandoned.let_go(self._coroutine)
                        raise AbandonedError
                trap = send(value) if thrown is None else throw(thrown)
        except StopIteration as stop:
            return stop.value


def as_coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    """The awaitable itself when it is a coroutine, else one that awaits it."""
    if inspect.iscoroutine(awaitable):
        return awaitable
    return _await(awaitable)


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
