"""Work on its way to the writer's thread, and the way back into the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import anyio
import anyio.lowlevel

from enclave_broker_core.loops import running_loop

Soon = Callable[[Callable[[], object]], object]
"""Has a function called by the event loop, soon."""


Then = Callable[[Any], None]


class Waiter(Protocol):
    """Awaited, it returns when it is ``set``."""

    def set(self) -> None: ...
    def __await__(self) -> Generator[Any, Any, Any]: ...


class FutureWaiter:
    """On asyncio, where this is several times as quick as an event."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def set(self) -> None:
        # A cancelled waiter has cancelled it.
        if not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._future.__await__()


class EventWaiter:
    """On other loops."""

    __slots__ = ("_event", "set")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self.set = self._event.set

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._event.wait().__await__()


class Loop:
    """The event loop that runs where this is made.

    ``soon`` is for use in its own thread, and calls when this turn of the loop is over;
    ``from_thread`` is for others, and raises RuntimeError when the loop has ended.
    """

    def __init__(self) -> None:
        self.soon: Soon
        self.from_thread: Soon
        self.waiter: Callable[[], Waiter]
        # What the loop itself is called by, as anyio's own way back waits for the call's end.
        native: Any = anyio.lowlevel.current_token().native_token
        if running_loop() == "asyncio":
            self.soon, self.from_thread = native.call_soon, native.call_soon_threadsafe
            self.waiter = FutureWaiter
        else:
            soon: Soon = native.run_sync_soon
            self.from_thread = soon
            # The first time may come before others who are to run in this turn.
            self.soon = lambda function: soon(partial(soon, function))
            self.waiter = EventWaiter


class Op:
    """Something to do in a transaction.

    ``act`` is called by the writer's thread, and called again where the transaction failed
    because of another; a BrokerError that it raises has changed nothing in the file but what
    it means to. ``touched`` are the names under which others may wait for what it changes.
    ``then`` is called in the event loop with the result, in the order of the ops, whether or
    not anybody still waits for it.
    """

    __slots__ = ("act", "done", "problem", "result", "then", "touched", "waiter")

    def __init__(
        self, act: Callable[[], Any], touched: tuple[str, ...], then: Then | None, waiter: Waiter
    ) -> None:
        self.act = act
        self.touched = touched
        self.then = then
        self.waiter = waiter
        self.done = False
        self.problem: BaseException | None = None
        self.result: Any = None

    async def see_through(self, waiter: Callable[[], Waiter]) -> None:
        """Wait for it all the same, after a cancellation; more of them change nothing."""
        with anyio.CancelScope(shield=True):
            while not self.done:
                self.waiter = waiter()
                with suppress(anyio.get_cancelled_exc_class()):
                    await self.waiter
