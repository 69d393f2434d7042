"""Makes a call again that failed for a reason which passes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Annotated, Any

import anyio
from pydantic import Field

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext, Middleware, OpenContext
from enclave_broker_core.errors import BrokerError, DeadlineExceededError
from enclave_broker_core.models import Frozen

from .selection import ErrorCode, ToolPatterns, Tools

MOST_ATTEMPTS = 20

Delay = Annotated[float, Field(ge=0, le=86400)]


class RetryConfig(Frozen):
    """Which calls are made again, and when. Times are in seconds.

    Before the attempt n + 1 there is a wait of a random time of up to ``delay`` · 2ⁿ⁻¹ and
    ``max_delay``, and before that one as long as the error asks for.
    """

    tools: ToolPatterns | None = None
    """Patterns of the tools whose calls may be made again; those that are ``idempotent`` or
    ``read_only`` unless given."""
    attempts: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)] = 3
    """How often a call is made, the first time too."""
    codes: frozenset[ErrorCode] | None = None
    """Errors after which there is another; unless given, those that are retryable, and those that
    say when to come back."""
    delay: Delay = 0.2
    """The longest first wait."""
    max_delay: Delay = 10.0
    """The longest wait."""
    max_wait: Delay = 30.0
    """An error that asks for more than this is passed on at once."""


class Retry:
    """Waits, with exponential back-off and full jitter, and passes the call on again.

    It never waits longer than the call has time, and no attempt after the first lasts
    longer: DeadlineExceededError. Each attempt counts in the rate limits.
    """

    def __init__(
        self,
        config: RetryConfig | None = None,
        *,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._config = config or RetryConfig()
        tools = self._config.tools
        self._tools = None if tools is None else Tools(tools)
        self._random = random or Random()  # noqa: S311 - it only spreads calls
        self._sleep = sleep

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        if not self._is_for(call):
            return await call_next(call)
        for attempt in count(1):
            try:
                if attempt == 1:
                    return await call_next(call)
                with anyio.move_on_after(call.remaining()):
                    return await call_next(call)
            except BrokerError as error:
                if attempt == self._config.attempts or not self._passes(error):
                    raise
                wait = self._wait(attempt, error)
                if wait is None or wait >= call.remaining():
                    raise
            else:
                raise DeadlineExceededError(
                    f"{call.name} was tried {attempt} times, and then its time was over"
                )
            await self._sleep(wait)
        raise AssertionError("unreachable")

    def _is_for(self, call: ToolCall) -> bool:
        if self._tools is not None:
            return call.name in self._tools
        spec = call.spec
        return spec is not None and (spec.idempotent or spec.read_only)

    def _passes(self, error: BrokerError) -> bool:
        codes = self._config.codes
        if codes is not None:
            return error.code in codes
        return error.retryable or error.retry_after is not None

    def _wait(self, attempt: int, error: BrokerError) -> float | None:
        """Seconds before the attempt after this one; None when it asks for too many."""
        config = self._config
        asked = max(0.0, error.retry_after or 0.0)
        if not math.isfinite(asked) or asked > config.max_wait:
            return None
        most = min(config.max_delay, config.delay * 2.0 ** (attempt - 1))
        # On top of what is asked for: many who were told the same time would all come then.
        return asked + self._random.uniform(0, most)


@asynccontextmanager
async def open_retry(config: RetryConfig, context: OpenContext) -> AsyncIterator[Middleware]:
    yield Retry(config)
