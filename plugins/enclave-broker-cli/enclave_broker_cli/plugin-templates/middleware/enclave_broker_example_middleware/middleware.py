"""A middleware that tells of calls that take long."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext, Middleware, OpenContext

from .config import SlowCallsConfig

_log = logging.getLogger(__name__)


class SlowCalls:
    """A Middleware that passes every call on as it is, and logs a warning of the slow ones."""

    def __init__(
        self, config: SlowCallsConfig, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._seconds = config.seconds
        self._clock = clock

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        began = self._clock()
        try:
            return await call_next(call)
        finally:
            # Calls that fail or are cancelled are told of too.
            took = self._clock() - began
            if took > self._seconds:
                # A name may hold anything; the arguments are nobody's business here.
                extra = {"session": call.session_id, "call": call.id}
                _log.warning("%r took %.3f s", call.name, took, extra=extra)


@asynccontextmanager
async def open_middleware(
    config: SlowCallsConfig, context: OpenContext
) -> AsyncIterator[Middleware]:
    yield SlowCalls(config)
