"""A runtime whose programs are Python functions: what agents' code does, without a sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from pydantic import JsonValue
from pydantic_core import from_json, to_json

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import (
    BrokerError,
    DeadlineExceededError,
    ResultTooLargeError,
    RunError,
)
from enclave_broker_core.json_form import NotJsonError, TooLargeError, json_text, parse

Program = Callable[["Code"], Awaitable[Any]]


class _Stopped(BaseException):
    """Ends a program, as a sandbox does, where the program can't catch it."""

    def __init__(self, error: BrokerError) -> None:
        self.error = error


class Code:
    """What a program may do. ``state`` is what the session's programs keep, in JSON form."""

    def __init__(self, host: RuntimeHost, state: dict[str, Any]) -> None:
        self.state = state
        self._host = host

    async def call(self, name: str, **arguments: Any) -> JsonValue:
        """One tool call; its BrokerError is the program's to catch."""
        return await self._host.call(name, arguments)

    async def gather(self, *calls: Awaitable[Any]) -> list[Any]:
        """The results of calls made at once; the first error ends the others."""
        results: list[Any] = [None] * len(calls)
        failures: list[BaseException] = []

        async def run(number: int, call: Awaitable[Any]) -> None:
            try:
                results[number] = await call
            except (Exception, _Stopped) as problem:
                failures.append(problem)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for number, call in enumerate(calls):
                tasks.start_soon(run, number, call)
        if failures:
            raise failures[0]
        return results

    async def print(self, text: str) -> None:
        """Print a line; over the limit, that ends the program."""
        try:
            await self._host.stdout(f"{text}\n")
        except BrokerError as problem:
            raise _Stopped(problem) from None

    async def compute_for_ever(self) -> None:
        """Do as an endless loop does: until cancelled, or until ``run_timeout`` is over."""
        with anyio.move_on_after(self._host.limits.run_timeout):
            await anyio.sleep_forever()
        raise _Stopped(DeadlineExceededError("the code computed for too long"))


class ScriptedSession:
    """The state of one session; a code is the name of a program."""

    def __init__(
        self, programs: Mapping[str, Program], host: RuntimeHost, state: bytes | None
    ) -> None:
        self._programs = programs
        self._host = host
        self._state: dict[str, Any] = {} if state is None else _state(state)

    async def run(self, code: str, *, last: bool = False) -> JsonValue:
        if code not in self._programs:
            raise RunError(f"there is no program named {code!r}")
        try:
            value = await self._programs[code](Code(self._host, self._state))
        except _Stopped as stopped:
            raise stopped.error from None
        except BrokerError as problem:
            raise RunError(f"{problem.code}: {problem.message}") from None
        except Exception as problem:
            raise RunError(f"{type(problem).__name__}: {problem}") from None
        try:
            result: JsonValue = parse(json_text(value, self._host.limits.max_result_bytes))
        except TooLargeError as problem:
            raise ResultTooLargeError(str(problem)) from None
        except NotJsonError as problem:
            raise RunError(str(problem)) from None
        return result

    async def dump(self) -> bytes:
        return to_json(self._state)


def _state(dumped: bytes) -> dict[str, Any]:
    try:
        state = from_json(dumped)
    except ValueError:
        state = None
    if not isinstance(state, dict):
        raise RunError("this is no dump of a scripted session")
    return state


class ScriptedRuntime:
    """A runtime whose programs are coroutine functions that take a ``Code``, by their names.

    ``await session.run("greet")`` runs the program ``greet``; what it returns is the result,
    what it raises a RunError. Memory and recursion are Python's own.
    """

    language = "scripted"

    def __init__(self, programs: Mapping[str, Program] | None = None) -> None:
        self.programs: dict[str, Program] = dict(programs or {})

    def program(self, function: Program) -> Program:
        """Make the decorated function a program of its name."""
        self.programs[getattr(function, "__name__", "program")] = function
        return function

    @asynccontextmanager
    async def session(
        self, host: RuntimeHost, state: bytes | None = None
    ) -> AsyncIterator[ScriptedSession]:
        yield ScriptedSession(self.programs, host, state)
