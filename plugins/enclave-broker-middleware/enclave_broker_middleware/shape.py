"""Makes results smaller: picks or leaves out parts, and cuts what is long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

import anyio.to_thread
from pydantic import model_validator
from pydantic_core import to_json

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext, Middleware, OpenContext
from enclave_broker_core.errors import ToolError
from enclave_broker_core.models import Count, Frozen

from .pointers import GONE, Pointers, parse_pointer, picked, replaced
from .selection import ToolPatterns, Tools
from .shortening import shortened

# On average, of the JSON that tools answer; a model's own tokens differ.
BYTES_PER_TOKEN = 4
# What is larger is worked on in a thread, so that other calls go on.
LARGE = 64 * 1024


class ShapeConfig(Frozen):
    """What is left of a result; in pointers ``*`` is every item or member."""

    tools: ToolPatterns = ("*",)
    """Patterns of the tools that it is for."""
    pick: Pointers = ()
    """JSON pointers to what to keep; all unless given."""
    omit: Pointers = ()
    """JSON pointers to what of that to leave out."""
    max_bytes: Count | None = None
    """Bytes of the result's JSON text."""
    max_tokens: Count | None = None
    """The same in tokens, which are guessed at four bytes each."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.pick or self.omit or self.max_bytes or self.max_tokens):
            raise ValueError("say what to do: pick, omit, max_bytes or max_tokens")
        return self

    @property
    def budget(self) -> int | None:
        """The most bytes that a result may have."""
        tokens = None if self.max_tokens is None else self.max_tokens * BYTES_PER_TOKEN
        given = [size for size in (self.max_bytes, tokens) if size is not None]
        return min(given, default=None)


class Shape:
    """Changes the results of its tools; errors stay as they are.

    Of a result in which nothing is at any of the pointers to pick, what is left is null.
    """

    def __init__(self, config: ShapeConfig) -> None:
        self._tools = Tools(config.tools)
        self._pick = [parse_pointer(text) for text in config.pick]
        self._omit = [parse_pointer(text) for text in config.omit]
        self._budget = config.budget

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        result = await call_next(call)
        if call.name not in self._tools:
            return result
        try:
            size = len(to_json(result))
        except ValueError as problem:
            raise ToolError(f"the result of {call.name} can't be passed on: {problem}") from None
        if size <= LARGE:
            return self.shaped(result)
        # What is cancelled meanwhile needs no answer, and the thread touches nothing else.
        return await anyio.to_thread.run_sync(partial(self.shaped, result), abandon_on_cancel=True)

    def shaped(self, result: Any) -> Any:
        """A result as this middleware answers it."""
        if self._pick:
            result = picked(result, self._pick)
            if result is GONE:
                return None
        result = replaced(result, self._omit, lambda _: GONE)
        if result is GONE:
            return None
        return result if self._budget is None else shortened(result, self._budget)


@asynccontextmanager
async def open_shape(config: ShapeConfig, context: OpenContext) -> AsyncIterator[Middleware]:
    yield Shape(config)
