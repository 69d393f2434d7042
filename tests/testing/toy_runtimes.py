"""A runtime without a sandbox, which passes the suite.

Only for showing that the suite finds faults: it runs code in this process with exec.
"""

from __future__ import annotations

import ast
import inspect
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from pydantic import JsonValue

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import (
    BrokerError,
    DeadlineExceededError,
    ResultTooLargeError,
    RunError,
)
from enclave_broker_core.json_form import NotJsonError, TooLargeError, json_text, parse


class ToyStop(BaseException):
    """Ends the code, as a sandbox would, where code can't catch it."""

    def __init__(self, error: BrokerError) -> None:
        self.error = error


class ToySession:
    """Runs code with exec. A subclass has a fault in one of the small methods."""

    def __init__(self, host: RuntimeHost, names: dict[str, Any], group: TaskGroup) -> None:
        self._host = host
        self._names = names
        self._group = group
        self._printed: list[str] = []

    async def run(self, code: str, *, last: bool = False) -> JsonValue:
        self._names |= {
            "call_tool": self.call_tool,
            "gather": self.gather,
            "print": self.print,
            "work": self.work,
        }
        try:
            value = await self.evaluate(code)
        except ToyStop as stop:
            raise stop.error from None
        except Exception as error:
            text = "".join(traceback.format_exception_only(error))
            raise RunError(text) from None
        finally:
            await self.end()
        try:
            result: JsonValue = parse(json_text(value, self._host.limits.max_result_bytes))
        except TooLargeError as problem:
            raise ResultTooLargeError(str(problem)) from None
        except NotJsonError as problem:
            raise RunError(str(problem)) from None
        return result

    async def evaluate(self, code: str) -> Any:
        tree = ast.parse(code)
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            tree.body[-1] = ast.Assign(
                targets=[ast.Name("_", ast.Store())], value=tree.body[-1].value
            )
        program = compile(
            ast.fix_missing_locations(tree), "run", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        self._names["_"] = None
        waiting = eval(program, self._names)
        if inspect.isawaitable(waiting):
            await waiting
        return self._names["_"]

    async def call_tool(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        await self.flush()
        try:
            return await self._host.call(name, args or {})
        except BrokerError as error:
            raise RuntimeError(f"{error.code}: {error.message}") from None

    async def gather(self, *calls: Any) -> list[Any]:
        results: list[Any] = [None] * len(calls)
        failures: list[Exception] = []

        async def run(index: int, call: Any) -> None:
            try:
                results[index] = await call
            except Exception as error:
                failures.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for index, call in enumerate(calls):
                group.start_soon(run, index, call)
        if failures:
            raise failures[0]
        return results

    def print(self, text: str) -> None:
        self._printed.append(f"{text}\n")

    async def flush(self) -> None:
        while self._printed:
            try:
                await self._host.stdout(self._printed.pop(0))
            except BrokerError as error:
                self._printed.clear()
                raise ToyStop(error) from None

    async def work(self, kind: str) -> None:
        """What hostile code would do, given in a word: the toy only shows how it ends."""
        limits = self._host.limits
        if kind != "loop":
            raise ToyStop(RunError(f"out of {kind}"))
        with anyio.move_on_after(limits.run_timeout):
            await anyio.sleep_forever()
        raise ToyStop(DeadlineExceededError("too long"))

    async def end(self) -> None:
        await self.flush()

    async def dump(self) -> bytes | None:
        return None


class ToyRuntime:
    language = "python"

    def __init__(self, kind: type[ToySession], group: TaskGroup) -> None:
        self._kind = kind
        self._group = group

    @asynccontextmanager
    async def session(
        self, host: RuntimeHost, state: bytes | None = None
    ) -> AsyncIterator[ToySession]:
        yield self._kind(host, self.names(), self._group)

    def names(self) -> dict[str, Any]:
        return {}


@asynccontextmanager
async def open_toy(
    kind: type[ToySession], runtime: type[ToyRuntime] = ToyRuntime
) -> AsyncIterator[ToyRuntime]:
    async with anyio.create_task_group() as group:
        yield runtime(kind, group)
        group.cancel_scope.cancel()
