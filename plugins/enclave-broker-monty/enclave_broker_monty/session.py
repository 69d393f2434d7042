"""The code state of one session, kept between its runs and without a worker meanwhile."""

from __future__ import annotations

from typing import Self

import anyio
from pydantic import JsonValue
from pydantic_monty import ResourceLimits

from enclave_broker_core.contracts import RuntimeHost

from .catalog import Catalog
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
        self, host: RuntimeHost, workers: Workers, config: MontyConfig, state: SavedState
    ) -> None:
        self._host = host
        self._workers = workers
        self._config = config
        self._state = state
        self._catalog = Catalog(host, with_stubs=config.type_check)
        self._turn = anyio.Lock(fast_acquire=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """It holds nothing between its runs."""

    async def run(self, code: str, *, last: bool = False) -> JsonValue:
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
                value = await run(code)
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
