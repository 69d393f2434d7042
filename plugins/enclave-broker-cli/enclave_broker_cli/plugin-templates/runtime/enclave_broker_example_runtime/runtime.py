"""The runtime: sessions that run programs of JSON, in this process and within their limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from enclave_broker_core.contracts import OpenContext, Runtime, RuntimeHost, RuntimeSession
from enclave_broker_core.errors import ResultTooLargeError, RunError
from enclave_broker_core.json_form import NotJsonError, TooLargeError, json_text, parse
from pydantic import JsonValue

from .budget import Budget, OutOfMemory
from .config import RuntimeConfig
from .program import Failed, Program
from .state import State, state_of


class JsonSession:
    """A RuntimeSession: what its runs define is there in the next."""

    def __init__(self, config: RuntimeConfig, host: RuntimeHost, state: State) -> None:
        self._config = config
        self._host = host
        self._state = state
        self._size = 0
        self._keep()

    async def run(self, code: str, *, last: bool = False) -> JsonValue:
        before = self._state.same_names()
        try:
            result = await self._run(code)
            self._keep()
        except OutOfMemory:
            self._state = before
            raise
        except BaseException:
            # What was defined up to an error or a cancellation stays, if it can be kept.
            try:
                self._keep()
            except OutOfMemory:
                self._state = before
            raise
        return result

    async def dump(self) -> bytes | None:
        return self._state.dump(self._host.limits.max_memory_bytes)

    async def _run(self, code: str) -> JsonValue:
        limits = self._host.limits
        budget = Budget(limits, self._config.max_steps)
        try:
            budget.take(self._size + len(code))
            value = await Program(self._host, self._state, budget).value(parse(code), {})
            # A copy: what the code still holds is not the caller's to change.
            result: JsonValue = parse(json_text(value, limits.max_result_bytes))
        except Failed as failed:
            raise RunError(str(failed)) from None
        except TooLargeError as problem:
            raise ResultTooLargeError(str(problem)) from None
        except NotJsonError as problem:
            raise RunError(str(problem)) from None
        return result

    def _keep(self) -> None:
        """Measure the state; OutOfMemory when it can't be kept for the next run."""
        try:
            self._size = len(self._state.dump(self._host.limits.max_memory_bytes))
        except (TooLargeError, NotJsonError) as problem:
            raise OutOfMemory(f"what the code has defined can't be kept: {problem}") from None


class JsonRuntime:
    """A Runtime. There is nothing of the program in reach of the code, so it needs no walls."""

    language = "json"

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config

    @asynccontextmanager
    async def session(
        self, host: RuntimeHost, state: bytes | None = None
    ) -> AsyncIterator[RuntimeSession]:
        yield JsonSession(self._config, host, state_of(state))


@asynccontextmanager
async def open_runtime(config: RuntimeConfig, context: OpenContext) -> AsyncIterator[Runtime]:
    yield JsonRuntime(config)
