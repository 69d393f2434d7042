"""Running code by ``feed_run``, and parking it when it only waits."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import anyio
from pydantic_monty import AsyncMontySession, MontyError

from .helpers import Helpers
from .host_calls import HostCalls
from .output import Output
from .parking import ParkedRun
from .workers import Workers


class Feeding:
    """Runs one piece of code in one session of a worker.

    ``feed_run`` answers a call that is awaited at once in one round trip to the worker;
    driving the code from outside needs two. A run that has waited for host calls alone for
    ``park_after`` seconds is dumped beside it, stopped, and comes back as a ParkedRun.
    When it isn't certain what the dumped run waits for, it goes on as it was.
    """

    def __init__(
        self,
        session: AsyncMontySession,
        workers: Workers,
        calls: HostCalls,
        output: Output,
        helpers: Helpers,
        park_after: float | None,
    ) -> None:
        self._session = session
        self._workers = workers
        self._calls = calls
        self._output = output
        self._helpers = helpers
        self._park_after = park_after
        self._scope = anyio.CancelScope()
        self._dumping = anyio.Lock()
        self._parked: ParkedRun | None = None
        self._ended = False

    async def run(self, code: str) -> tuple[Any, ParkedRun | None]:
        """The code's value, or the run without a worker. Raises MontyError."""
        self._watch()
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
            if self._dumping.locked():
                async with self._dumping:
                    pass
        return value, self._parked

    def _watch(self) -> None:
        """Look in ``park_after`` seconds whether the run has only waited, and so on."""
        if self._park_after is not None:
            self._helpers.later(self._park_after, partial(self._look, self._calls.moves))

    def _look(self, moves: int) -> None:
        if self._ended:
            return
        if self._calls.only_waits(moves):
            self._helpers.start(self._park(moves))
        else:
            self._watch()

    async def _park(self, moves: int) -> None:
        with contextlib.suppress(MontyError, RuntimeError):
            async with self._dumping:
                if self._ended:
                    return
                snapshot = await self._session.dump()
            async with self._workers.viewer() as viewer:
                parked = await ParkedRun.of(snapshot, self._calls.waiting, viewer)
            # The code is suspended until a call ends, so if none has, the dump is of now.
            if parked and self._calls.only_waits(moves) and not self._ended:
                self._parked = parked
                self._ended = True
                self._calls.hold()
                self._scope.cancel()
        if not self._ended:
            self._watch()
