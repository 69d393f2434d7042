"""Does not call a tool and tells what would be done, or calls another beside it to compare."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import anyio
from pydantic import Field, JsonValue, model_validator

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext, Middleware, OpenContext
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import Frozen, Seconds

from .difference import difference
from .pointers import GONE, Pointers, parse_pointer, replaced
from .selection import ToolPatterns, Tools

SHADOW = "enclave_broker.shadow"


class DryRunConfig(Frozen):
    """Which tools are not called, and which are called beside others."""

    tools: ToolPatterns | None = None
    """Patterns of the tools whose answer says what would be done."""
    result: JsonValue = None
    """The result in such an answer."""
    compare: Mapping[str, str] = Field(default_factory=dict)
    """For a tool, the one that is called beside it with the same arguments."""
    ignore: Pointers = ()
    """JSON pointers to what may differ between their answers."""
    timeout: Seconds = 5.0
    """Seconds that the other one may take longer than the first."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.tools is None and not self.compare:
            raise ValueError("say which tools are not to be called, or which are to be compared")
        return self


class Outcome(NamedTuple):
    """What came of one of the two calls: a result or the code of an error, and in what time."""

    result: Any
    code: str | None
    seconds: float


class DryRun:
    """The other tool's answer, and whether it differs, goes to the log and to nobody else.

    The other call is one of its own to access and rate limits.
    """

    def __init__(self, config: DryRunConfig) -> None:
        self._config = config
        self._tools = Tools(config.tools or ())
        self._ignored = [parse_pointer(text) for text in config.ignore]
        self._logger = logging.getLogger(SHADOW)

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        if call.name in self._tools:
            return self._described(call)
        other = self._config.compare.get(call.name)
        if other is None:
            return await call_next(call)
        return await self._compared(call, call.replace(name=other), call_next)

    def _described(self, call: ToolCall) -> JsonValue:
        told: dict[str, JsonValue] = {
            "dryRun": True,
            "tool": call.name,
            "arguments": dict(call.args),
            "note": f"{call.name} was not called; nothing has been done",
        }
        if "result" in self._config.model_fields_set:
            told["result"] = self._config.result
        return told

    async def _compared(self, call: ToolCall, other: ToolCall, call_next: CallNext) -> Any:
        found: list[Outcome] = []
        failure: Exception | None = None
        result: Any = None
        started = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_note, other, call_next, found)
            try:
                result = await call_next(call)
            except Exception as error:
                failure = error
            seconds = time.perf_counter() - started
            tasks.cancel_scope.deadline = anyio.current_time() + self._config.timeout
        first = Outcome(result, None if failure is None else _code(failure), seconds)
        self._log(call, other.name, first, found[0] if found else None)
        if failure is not None:
            raise failure
        return result

    def _log(self, call: ToolCall, name: str, first: Outcome, other: Outcome | None) -> None:
        told = self._comparison(first, other)
        agrees = told == "the same"
        self._logger.log(
            logging.INFO if agrees else logging.WARNING,
            "%s beside %s: %s",
            name,
            call.name,
            told,
            extra={
                "tool": call.name,
                "shadow": name,
                "session": call.session_id,
                "call": call.id,
                "agrees": agrees,
                "toolSeconds": first.seconds,
                "shadowSeconds": None if other is None else other.seconds,
            },
        )

    def _comparison(self, first: Outcome, other: Outcome | None) -> str:
        """In words, with no value of either."""
        if other is None:
            return "did not answer in time"
        if first.code != other.code:
            return f"{other.code or 'a result'} instead of {first.code or 'a result'}"
        place = difference(self._without(first.result), self._without(other.result))
        return "the same" if place is None else f"differs at {place or 'the top'}"

    def _without(self, result: Any) -> Any:
        left = replaced(result, self._ignored, lambda _: GONE)
        return None if left is GONE else left


async def _note(call: ToolCall, call_next: CallNext, found: list[Outcome]) -> None:
    started = time.perf_counter()
    result, code = None, None
    try:
        result = await call_next(call)
    except Exception as error:
        code = _code(error)
    found.append(Outcome(result, code, time.perf_counter() - started))


def _code(error: Exception) -> str:
    return error.code if isinstance(error, BrokerError) else "TOOL_ERROR"


@asynccontextmanager
async def open_dry_run(config: DryRunConfig, context: OpenContext) -> AsyncIterator[Middleware]:
    yield DryRun(config)
