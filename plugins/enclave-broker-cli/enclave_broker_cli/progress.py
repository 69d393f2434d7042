"""A line at the end of a terminal that says what runs, and for how long."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TextIO

import anyio
from rich.control import Control
from rich.filesize import decimal
from rich.segment import ControlType
from rich.text import Text

from enclave_broker_core.events import Event
from enclave_broker_core.session import Session

from .terminal import console, harmless

# Seconds from one drawing to the next. What is over sooner is never drawn.
TICK = 0.2


@dataclass
class _Call:
    name: str
    since: float
    phase: str = ""


class Progress:
    """Draws the line while a block runs, on a terminal and never on a pipe or a file.

    ``what`` it says while no tool runs. Whoever prints meanwhile calls ``clear`` before,
    and the line is drawn again at the next tick.
    """

    def __init__(
        self,
        what: str,
        *,
        stream: TextIO | None = None,
        wanted: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console(sys.stderr if stream is None else stream)
        self._shown = wanted and self._console.file.isatty() and not self._console.is_dumb_terminal
        self._clock = clock
        self._what = _Call(what, clock())
        self._calls: dict[str, _Call] = {}
        self._drawn = False

    def event(self, event: Event) -> None:
        """Take note of a call that begins, gets on or ends."""
        payload = event.payload
        if event.type == "tool_call":
            self._calls[payload["callId"]] = _Call(payload["toolName"], self._clock())
        elif event.type == "tool_progress" and payload["callId"] in self._calls:
            self._calls[payload["callId"]].phase = _phase(payload)
        elif event.type == "tool_result_applied":
            self._calls.pop(payload["callId"], None)

    @asynccontextmanager
    async def shown(self, session: Session | None = None) -> AsyncIterator[None]:
        """The line is there in this block, and gone after it.

        The events of a ``session`` are followed; without one, ``event`` is to be called.
        """
        if not self._shown:
            yield
            return
        handlers = logging.getLogger().handlers
        for handler in handlers:
            handler.addFilter(self._before_log)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tick)
                if session is not None:
                    tasks.start_soon(self._follow, session)
                yield
                tasks.cancel_scope.cancel()
        finally:
            for handler in handlers:
                handler.removeFilter(self._before_log)
            self.clear()

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            self._drawn = False
            self._console.control(_ERASED)

    def text(self) -> str:
        """What the line says: the call that runs longest, what it does, and how many more."""
        call = next(iter(self._calls.values()), self._what)
        more = len(self._calls) - 1
        said = [call.name, f"{self._clock() - call.since:.1f} s", call.phase]
        said += [f"and {more} more"] if more > 0 else []
        return harmless("  ".join(filter(None, said)))

    def _draw(self) -> None:
        line = Text(self.text(), style="dim", no_wrap=True, overflow="ellipsis")
        # In its last column some terminals would begin the next line.
        line.truncate(self._console.width - 1, overflow="ellipsis")
        self._drawn = True
        self._console.control(_ERASED)
        self._console.print(line, end="")

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK)
            self._draw()

    async def _follow(self, session: Session) -> None:
        async for event in session.events():
            self.event(event)

    def _before_log(self, record: logging.LogRecord) -> bool:
        self.clear()
        return True


_ERASED = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


def _phase(payload: Mapping[str, Any]) -> str:
    phase: str = payload["phase"]
    received, total = payload.get("bytesReceived"), payload.get("totalBytes")
    if received is None:
        return phase
    return f"{phase} {decimal(received)}" + ("" if total is None else f" of {decimal(total)}")
