"""The code state of one session, kept between its runs and without a worker meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Self

import anyio
from pydantic import JsonValue
from pydantic_monty import ResourceLimits

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import RunError

from .catalog import Catalog
from .checkpoints import Checkpoint
from .config import MontyConfig
from .results import json_result
from .run import Run
from .saved_state import SavedState
from .workers import Workers


class MontySession:
    """A RuntimeSession. Runs are one after the other; a second one waits for the first.

    After an exception of the code its state is the one at the exception. After a limit, a
    dead worker, a cancellation or a refused output it is the one before the run.
    """

    def __init__(
        self,
        host: RuntimeHost,
        workers: Workers,
        config: MontyConfig,
        state: SavedState,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._host = host
        self._workers = workers
        self._config = config
        self._state = state
        self._checkpoint = checkpoint
        self._catalog = Catalog(host, with_stubs=config.type_check)
        self._turn = anyio.Lock(fast_acquire=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """It holds nothing between its runs."""

    async def run(self, code: str, *, last: bool = False) -> JsonValue:
        return await self._do(lambda run: run(code), last)

    async def resume(self, *, last: bool = False) -> JsonValue:
        checkpoint, self._checkpoint = self._checkpoint, None
        if checkpoint is None:
            raise RunError("there is no run to go on with")
        return await self._do(lambda run: run.resume(checkpoint), last)

    async def _do(self, work: Callable[[Run], Awaitable[Any]], last: bool) -> JsonValue:
        async with self._turn:
            run = Run(
                self._host,
                self._workers,
                self._catalog,
                self._limits(),
                self._state,
                park_after=self._config.park_after,
                type_check=self._config.type_check,
                last=last,
            )
            try:
                value = await work(run)
            finally:
                self._state = run.state
            return json_result(value, self._host.limits.max_result_bytes)

    async def dump(self) -> bytes | None:
        return self._state.to_bytes()

    def _limits(self) -> ResourceLimits:
        """The same for every run of a session: a loaded state keeps the tighter ones."""
        session, config = self._host.limits, self._config
        processor_time = config.max_processor_time
        if session.run_timeout is not None:
            processor_time = min(processor_time, session.run_timeout)
        return {
            "max_feed_duration_secs": processor_time,
            "max_turn_duration_secs": config.max_turn_time,
            "max_memory": session.max_memory_bytes,
            "max_recursion_depth": config.max_recursion_depth,
            "max_suspensions": config.max_suspensions,
        }
