"""Running code by ``feed_run``, and parking it when it only waits."""

from __future__ import annotations

from typing import Any

import anyio
from anyio.abc import TaskGroup
from pydantic_monty import AsyncMontySession, MontyError

from .host_calls import HostCalls
from .output import Output
from .parking import ParkedRun


class Feeding:
    """Runs one piece of code in one session of a worker.

    ``feed_run`` answers a call that is awaited at once in one round trip to the worker;
    driving the code from outside needs two. A run that has waited for host calls alone for
    ``park_after`` seconds is dumped beside it, stopped, and comes back as a ParkedRun.
    """

    def __init__(
        self,
        session: AsyncMontySession,
        calls: HostCalls,
        output: Output,
        park_after: float | None,
    ) -> None:
        self._session = session
        self._calls = calls
        self._output = output
        self._park_after = park_after
        self._scope = anyio.CancelScope()
        self._dumping = anyio.Lock()
        self._parked: ParkedRun | None = None
        self._ended = False

    async def run(self, code: str, group: TaskGroup) -> tuple[Any, ParkedRun | None]:
        """The code's value, or the run without a worker. Raises MontyError."""
        if self._park_after is not None:
            group.start_soon(self._watch, self._park_after)
        value: Any = None
        with self._scope:
            try:
                value = await self._session.feed_run(
                    code,
                    external_lookup=self._calls.lookup(),
                    print_callback=self._output.printed,
                    os=self._calls.os,
                )
            finally:
                self._ended = True
            # A dump that is under way uses the session; it ends soon, as the code has.
            async with self._dumping:
                pass
        return value, self._parked

    async def _watch(self, park_after: float) -> None:
        while not self._ended:
            moves = self._calls.moves
            await anyio.sleep(park_after)
            if self._calls.only_waits(moves):
                await self._park(moves)

    async def _park(self, moves: int) -> None:
        async with self._dumping:
            if self._ended:
                return
            try:
                snapshot = await self._session.dump()
            except (MontyError, RuntimeError):
                return
            # The code is suspended until a call ends, so if none has, the dump is of now.
            if self._calls.only_waits(moves) and not self._ended:
                self._parked = ParkedRun(snapshot, list(self._calls.waiting))
                self._ended = True
                self._scope.cancel()
