"""Running code by ``feed_run``, and parking it when it only waits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic_monty import AsyncMontySession, MontyError

from enclave_broker_core.once import Once

from .helpers import Helpers
from .host_calls import HostCalls
from .output import Output
from .parking import ParkedRun
from .workers import Workers


class Feeding:
    """Runs one piece of code in one session of a worker.

    ``feed_run`` answers a call that is awaited at once in one round trip to the worker;
    driving the code from outside needs two. A run that has waited for host calls alone for
    ``park_after`` seconds is dumped beside it and given to ``hand_over``, which stops it. When
    it isn't certain what the dumped run waits for, it goes on as it was.
    """

    def __init__(
        self,
        session: AsyncMontySession,
        workers: Workers,
        calls: HostCalls,
        output: Output,
        helpers: Helpers,
        park_after: float | None,
        hand_over: Callable[[ParkedRun], None],
    ) -> None:
        self._session = session
        self._workers = workers
        self._calls = calls
        self._output = output
        self._helpers = helpers
        self._park_after = park_after
        self._hand_over = hand_over
        self._dumped: Once | None = None
        self._ended = False

    async def run(self, code: str) -> Any:
        """The code's value. Raises MontyError."""
        self._watch()
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
        if self._dumped is not None:
            await self._dumped.wait()
        return value

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
            if self._ended:
                return
            self._dumped = Once()
            try:
                snapshot = await self._session.dump()
            finally:
                self._dumped.set()
            viewer = await self._workers.take_viewer()
            try:
                parked = await ParkedRun.of(snapshot, self._calls.waiting, viewer)
            finally:
                self._workers.give_back(viewer)
            # The code is suspended until a call ends, so if none has, the dump is of now.
            if parked and self._calls.only_waits(moves) and not self._ended:
                self._ended = True
                self._hand_over(parked)
        if not self._ended:
            self._watch()
