"""The runtime: a pool of sandbox processes and the sessions that take turns on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from enclave_broker_core.contracts import OpenContext, RuntimeHost

from .checkpoints import MAGIC, Checkpoint
from .config import MontyConfig
from .saved_state import SavedState
from .session import MontySession
from .workers import Workers


class MontyRuntime:
    """A Runtime for Python. Any number of sessions can be open; workers are for runs."""

    language = "python"
    durable = True

    def __init__(self, workers: Workers, config: MontyConfig) -> None:
        self._workers = workers
        self._config = config

    def counts(self) -> Mapping[str, int]:
        """How its workers are doing, for operators."""
        return self._workers.counts()

    def session(self, host: RuntimeHost, state: bytes | None = None) -> MontySession:
        """Open the code state of one session; RunError for a ``state`` that is none."""
        saved, checkpoint = SavedState(), None
        if state is not None and state.startswith(MAGIC):
            checkpoint = Checkpoint.from_bytes(state)
            saved = checkpoint.before
        elif state is not None:
            saved = SavedState.from_bytes(state)
        return MontySession(host, self._workers, self._config, saved, checkpoint)


@asynccontextmanager
async def open_monty(config: MontyConfig, context: OpenContext) -> AsyncIterator[MontyRuntime]:
    """Open the runtime for the life of a broker. On asyncio only, as pydantic-monty is."""
    async with Workers.open(config) as workers:
        yield MontyRuntime(workers, config)
