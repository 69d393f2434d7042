"""Cancels what is tried at each of its steps in turn, and looks at what is left of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

import anyio

from .checks import Cancelled, nothing_left_running


class Step(NamedTuple):
    """One attempt: the wait at which it was cancelled, and how it ended all the same.

    ``ended`` is "cancelled", "answered" when it was past being cancelled, or "failed" with
    the ``error``.
    """

    number: int
    ended: Literal["cancelled", "answered", "failed"]
    error: Exception | None = None


async def cancel_at_each_step(
    attempt: Callable[[], Awaitable[Any]],
    after: Callable[[Step], Awaitable[None]] | None = None,
    *,
    most: int = 500,
) -> list[Step]:
    """Attempt anew for each wait that there is on the way, and cancel it there.

    ``attempt`` may be one call, or all from opening a broker to closing it. ``after`` is
    awaited after each, to look at what is left. The last attempt came to its end without
    having waited so often, and is not among the steps. AssertionError when a task is left
    behind, or when there are more than ``most`` waits.
    """
    steps: list[Step] = []
    await anyio.wait_all_tasks_blocked()  # tasks that are about to start are not left behind
    for number in range(1, most + 1):
        ended: Literal["cancelled", "answered", "failed"] = "cancelled"
        error: Exception | None = None
        async with nothing_left_running():
            with anyio.CancelScope() as scope:
                cancelled = Cancelled(attempt(), number, scope)
                try:
                    await cancelled
                    ended = "answered"
                except Exception as problem:
                    ended, error = "failed", problem
        if cancelled.waits < number:
            if error is not None:
                raise error
            return steps
        steps.append(Step(number, ended, error))
        if after is not None:
            await after(steps[-1])
    raise AssertionError(f"it waits more than {most} times; say how often by most=…")
