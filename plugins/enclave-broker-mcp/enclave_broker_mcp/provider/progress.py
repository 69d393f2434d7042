"""Passes on how far a call is, as its server tells it."""

from __future__ import annotations

import math

import anyio
from pydantic import JsonValue

from enclave_broker_core.contracts import ToolContext

from .texts import line

# How long, in seconds, nothing more is passed on after something was: the newest waits.
PAUSE = 0.2
LONGEST_MESSAGE = 500


class Progress:
    """Takes what comes and passes the newest of it on; ``run`` is a task of the call's."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._newest: tuple[float, float | None, str | None] | None = None
        self._more = anyio.Event()

    async def take(self, progress: float, total: float | None, message: str | None) -> None:
        """What the SDK calls: it waits for nothing, so that nobody waits for it."""
        self._newest = (progress, total, message)
        self._more.set()

    async def run(self) -> None:
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            if self._newest is not None:
                (done, total, message), self._newest = self._newest, None
                await self._context.progress("processing")
                await self._tell(done, total, message)
            await anyio.sleep(PAUSE)

    async def _tell(self, done: float, total: float | None, message: str | None) -> None:
        """Numbers of a server's own units, and its words, have a place in the log only."""
        numbers: dict[str, JsonValue] = {"tool": self._context.tool}
        for name, value in (("progress", done), ("total", total)):
            if value is not None and math.isfinite(value):
                numbers[name] = int(value) if value.is_integer() else value
        said = line(message or "", LONGEST_MESSAGE) or "progress"
        await self._context.log("info", said, numbers)
