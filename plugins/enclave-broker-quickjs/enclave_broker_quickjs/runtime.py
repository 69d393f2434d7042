"""The runtime: a pool of worker processes and the sessions that take turns on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from enclave_broker_core.contracts import OpenContext, RuntimeHost

from . import saved_state
from .checkpoints import MAGIC, Checkpoint
from .config import QuickJSConfig
from .session import QuickJSSession
from .workers import Workers


class QuickJSRuntime:
    """A Runtime for JavaScript. Any number of sessions can be open; workers are for runs."""

    language = "javascript"
    durable = True

    def __init__(self, workers: Workers, config: QuickJSConfig) -> None:
        self._workers = workers
        self._config = config

    def counts(self) -> Mapping[str, int]:
        """How its workers are doing, for operators."""
        return self._workers.counts()

    def session(self, host: RuntimeHost, state: bytes | None = None) -> QuickJSSession:
        """Open the code state of one session; RunError for a ``state`` that is none."""
        saved, checkpoint = b"", None
        if state is not None and state.startswith(MAGIC):
            checkpoint = Checkpoint.from_bytes(state, self._workers.build)
            saved = checkpoint.before
        elif state is not None:
            saved = saved_state.from_bytes(state)
        return QuickJSSession(host, self._workers, self._config, saved, checkpoint)


@asynccontextmanager
async def open_quickjs(
    config: QuickJSConfig, context: OpenContext
) -> AsyncIterator[QuickJSRuntime]:
    """Open the runtime for the life of a broker. On asyncio only."""
    async with Workers.open(config) as workers:
        yield QuickJSRuntime(workers, config)
