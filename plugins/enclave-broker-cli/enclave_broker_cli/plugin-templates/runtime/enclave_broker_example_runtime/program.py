"""Evaluates programs that are JSON.

A value stands for itself, and so does a list or an object of values. An object whose only key
begins with ``$`` is an operation; its operand is a value, or a list of several::

    {"$do": [one, …]}            one after the other; the value is the last one's
    {"$all": [one, …]}           at once; the value is the list of theirs
    {"$set": [name, value]}      {"$get": name}      {"$defined": name}
    {"$def": [name, parameter, body]}                {"$apply": [name, value]}
    {"$call": [tool, arguments]}                     {"$print": value}
    {"$try": [one, otherwise]}   the second, with ["code", "message"] as ``error``,
                                 when a call or a $fail of the first fails
    {"$fail": text}              {"$if": [test, one, otherwise]}
    {"$while": [test, body]}     {"$item": [value, key or index]}
    {"$add": [a, b]}             of numbers, texts or lists
    {"$less": [a, b]}            of numbers
    {"$equal": [a, b]}           of numbers, texts, true, false and null
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import BrokerError, ResultTooLargeError, RunError
from enclave_broker_core.json_form import NotJsonError, TooLargeError, json_text

from .budget import ITEM_BYTES, Budget
from .state import LONGEST_NAME, Function, State

# Of operations and values within each other, those of functions that are applied too.
MOST_LEVELS = 100
# About what Python takes for one more task.
TASK_BYTES = 8192
LARGEST_NUMBER = 2**63
LONGEST_MESSAGE = 1000


class Failed(Exception):
    """A call or a ``$fail`` failed: what the code can catch."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Program:
    """One run: evaluates against the state of the session and within its budget."""

    def __init__(self, host: RuntimeHost, state: State, budget: Budget) -> None:
        self._host = host
        self._state = state
        self._budget = budget

    async def value(self, form: Any, local: Mapping[str, Any], level: int = 0) -> Any:
        """The value of a program; ``local`` are the names of a function or a ``$try``."""
        if level > MOST_LEVELS:
            raise RunError("the code is nested too deep")
        await self._budget.step()
        if isinstance(form, list):
            self._budget.take(ITEM_BYTES * len(form))
            return [await self.value(item, local, level + 1) for item in form]
        if not isinstance(form, dict):
            self._budget.take_copy(form)
            return form
        operation = next(iter(form), "")
        if len(form) == 1 and operation.startswith("$"):
            return await self._operation(operation, form[operation], local, level + 1)
        self._budget.take(ITEM_BYTES * len(form))
        return {key: await self.value(item, local, level + 1) for key, item in form.items()}

    async def _operation(
        self, operation: str, operand: Any, local: Mapping[str, Any], level: int
    ) -> Any:
        match operation, operand:
            case "$do", [*forms]:
                last = None
                for form in forms:
                    last = await self.value(form, local, level)
                return last
            case "$all", [*forms]:
                return await self._all(forms, local, level)
            case "$if", [test, one, otherwise]:
                chosen = one if await self.value(test, local, level) is True else otherwise
                return await self.value(chosen, local, level)
            case "$while", [test, body]:
                while await self.value(test, local, level) is True:
                    await self.value(body, local, level)
                return None
            case "$try", [one, otherwise]:
                try:
                    return await self.value(one, local, level)
                except Failed as failed:
                    error = [failed.code, failed.message]
                return await self.value(otherwise, {**local, "error": error}, level)
            case "$def", [str(name), str(parameter), body]:
                self._take_name(name)
                self._take_name(parameter)
                self._state.functions[name] = Function(parameter=parameter, body=body)
                return None
            case "$defined", str(name):
                return name in self._state.functions or name in self._state.variables
            case "$get", str(name):
                found = local if name in local else self._state.variables
                if name not in found:
                    raise RunError(f"nothing is named {name[:LONGEST_NAME]!r}")
                self._budget.take_copy(found[name])
                return found[name]
        values = await self.value(operand, local, level)
        return await self._done(operation, values, level)

    async def _done(self, operation: str, operand: Any, level: int) -> Any:
        """What an operation comes to whose operands are values by now."""
        match operation, operand:
            case "$set", [str(name), value]:
                self._take_name(name)
                self._state.variables[name] = value
                return value
            case "$apply", [str(name), value]:
                function = self._state.functions.get(name)
                if function is None:
                    raise RunError(f"no function is named {name[:LONGEST_NAME]!r}")
                return await self.value(function.body, {function.parameter: value}, level)
            case "$call", [str(tool), dict(arguments)]:
                return await self._call(tool, arguments)
            case "$print", value:
                await self._print(value)
                return None
            case "$fail", str(text):
                raise Failed("FAILED", text[:LONGEST_MESSAGE])
            case "$item", [dict(value), str(key)] if key in value:
                return value[key]
            case "$item", [list(value), int(index)] if -len(value) <= index < len(value):
                return value[index]
            case "$add", [str(a), str(b)]:
                # Up to four bytes for each character.
                self._budget.take(4 * (len(a) + len(b)))
                return a + b
            case "$add", [list(a), list(b)]:
                self._budget.take(ITEM_BYTES * (len(a) + len(b)))
                return a + b
            case "$add", [int() | float() as a, int() | float() as b] if _numbers(a, b):
                total = a + b
                if not abs(total) <= LARGEST_NUMBER:
                    raise RunError("the number is too large")
                return total
            case "$less", [int() | float() as a, int() | float() as b] if _numbers(a, b):
                return a < b
            case "$equal", [a, b] if not isinstance(a, list | dict):
                return isinstance(a, bool) is isinstance(b, bool) and a == b
        raise RunError(f"{operation[:LONGEST_NAME]!r} is no operation, or not on these operands")

    async def _all(self, forms: list[Any], local: Mapping[str, Any], level: int) -> list[Any]:
        values: list[Any] = [None] * len(forms)
        problems: list[Failed | BrokerError] = []

        async def run(index: int, form: Any) -> None:
            try:
                values[index] = await self.value(form, local, level)
            except (Failed, BrokerError) as problem:
                problems.append(problem)
                tasks.cancel_scope.cancel()

        self._budget.take(TASK_BYTES * len(forms))
        async with anyio.create_task_group() as tasks:
            for index, form in enumerate(forms):
                tasks.start_soon(run, index, form)
        if problems:
            raise problems[0]
        return values

    def _take_name(self, name: str) -> None:
        if not 1 <= len(name) <= LONGEST_NAME:
            raise RunError(f"a name has 1 to {LONGEST_NAME} characters")
        self._budget.take(ITEM_BYTES + len(name))

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Any:
        try:
            result = await self._host.call(tool, arguments)
        except BrokerError as problem:
            raise Failed(problem.code, problem.message) from None
        self._budget.take_copy(result)
        return result

    async def _print(self, value: Any) -> None:
        try:
            text = json_text(value, self._host.limits.max_output_bytes).decode()
        except TooLargeError as problem:
            raise ResultTooLargeError(str(problem)) from None
        except NotJsonError as problem:
            raise RunError(str(problem)) from None
        await self._host.stdout(f"{value if isinstance(value, str) else text}\n")


def _numbers(*values: Any) -> bool:
    """True and false are no numbers in JSON, other than in Python."""
    return not any(isinstance(value, bool) for value in values)
