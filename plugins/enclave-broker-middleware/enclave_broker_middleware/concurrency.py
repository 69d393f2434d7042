"""Lets only so many calls run at once; others wait their turn for a while."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import anyio
from pydantic import Field

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext, Middleware, OpenContext
from enclave_broker_core.models import Count, Frozen

from .errors import TooManyCallsError
from .places import Places
from .selection import ToolPatterns, Tools, caller

# Nobody knows when a place comes free.
RETRY_AFTER = 1.0


class ConcurrencyConfig(Frozen):
    """How many calls there may be at once. The others wait: first come, first served."""

    max_calls: Count
    """Calls at once, of whatever ``per`` says."""
    tools: ToolPatterns = ("*",)
    """Patterns of the tools that it is for."""
    per: Literal["tool", "pattern", "principal"] = "tool"
    """What the calls are counted for: each tool, all that one of the patterns matches (the first
    that does), or each principal, whatever the tool."""
    max_waiting: Annotated[int, Field(ge=0)] = 100
    """Calls that may wait; with 0 nobody does."""
    timeout: Annotated[float, Field(ge=0, le=86400)] = 10.0
    """Seconds that a call may wait."""


class Concurrency:
    """TooManyCallsError, with a time to come back, for a call that gets no place.

    A tool that calls tools has its place meanwhile.
    """

    def __init__(self, config: ConcurrencyConfig) -> None:
        self._config = config
        self._tools = Tools(config.tools)
        self._places: dict[Hashable, Places] = {}

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        key = self._key(call)
        if key is None:
            return await call_next(call)
        config, left = self._config, call.remaining()
        places = self._places.get(key)
        if places is None:
            places = self._places[key] = Places(config.max_calls, config.max_waiting)
        place = None
        try:
            place = await places.take(min(config.timeout, left), anyio.current_time() + left)
            if place is None:
                raise TooManyCallsError(
                    f"{config.max_calls} calls are under way already, and {call.name} got no"
                    " place among them; try again later",
                    retry_after=RETRY_AFTER,
                )
            return await call_next(call)
        finally:
            if place is not None:
                places.give_back(place)
            if places.is_unused and self._places.get(key) is places:
                del self._places[key]

    def _key(self, call: ToolCall) -> Hashable | None:
        pattern, spec = self._tools.first(call.name), call.spec
        if pattern is None or spec is None:
            return None
        if self._config.per == "principal":
            return "principal", caller(call.principal)
        return spec.name if self._config.per == "tool" else pattern


@asynccontextmanager
async def open_concurrency(
    config: ConcurrencyConfig, context: OpenContext
) -> AsyncIterator[Middleware]:
    yield Concurrency(config)
