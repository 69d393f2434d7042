"""Tools that answer as they were told: results, errors, progress, or nothing until released."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

from anyio.lowlevel import checkpoint
from pydantic import JsonValue

from enclave_broker_core.contracts import Publish, Tool, ToolContext
from enclave_broker_core.declaration import ToolOptions, declare
from enclave_broker_core.errors import ConfigError
from enclave_broker_core.events import Phase
from enclave_broker_core.models import Principal, ToolSpec
from enclave_broker_core.routing import Route
from enclave_broker_core.threads import Threads

from .gates import Bell, Gate
from .raising import anew

Act = Callable[[Mapping[str, JsonValue], ToolContext], Awaitable[Any]]
"""What a tool does when it is called: with its arguments in JSON form, and its context."""


def waits(gate: Gate, then: JsonValue = None) -> Act:
    """Wait until the gate is open, and answer ``then``."""

    async def act(arguments: Mapping[str, JsonValue], context: ToolContext) -> JsonValue:
        await gate.wait()
        return copy.deepcopy(then)

    return act


def progresses(*phases: Phase, then: JsonValue = None) -> Act:
    """Tell of these phases, one after the other, and answer ``then``."""

    async def act(arguments: Mapping[str, JsonValue], context: ToolContext) -> JsonValue:
        for phase in phases:
            await context.progress(phase)
        return copy.deepcopy(then)

    return act


def streams(*items: JsonValue) -> Act:
    """Show each of these as a part of the result, and answer all of them."""

    async def act(arguments: Mapping[str, JsonValue], context: ToolContext) -> JsonValue:
        for item in items:
            await context.partial(item)
        return copy.deepcopy(list(items))

    return act


class Called(NamedTuple):
    """One call that came to a scripted tool."""

    tool: str
    arguments: Mapping[str, JsonValue]
    session_id: str
    principal: Principal | None


class ScriptedTool:
    """A tool whose answers are given, one for each call; the last one for all that follow.

    An answer is a JSON value, an error to raise, or an Act. ``calls`` holds what came,
    ``running`` is how many of them have no answer yet.
    """

    def __init__(self, checks: Tool, answers: Sequence[JsonValue | Exception | Act]) -> None:
        """``checks`` is a tool that knows the schema; it is never called."""
        self.calls: list[Called] = []
        self.running = 0
        self._checks = checks
        self._answers = tuple(answers) or (None,)

    @property
    def spec(self) -> ToolSpec:
        return self._checks.spec

    def validate(self, arguments_json: bytes) -> Any:
        return self._checks.validate(arguments_json)

    def dump(self, arguments: Any) -> Mapping[str, JsonValue]:
        return self._checks.dump(arguments)

    async def invoke(self, arguments: Any, context: ToolContext) -> Any:
        given = self.dump(arguments)
        session = context.session
        answer = self._answers[min(len(self.calls), len(self._answers) - 1)]
        self.calls.append(Called(self.spec.name, given, session.id, session.principal))
        self.running += 1
        try:
            await checkpoint()
            if isinstance(answer, Exception):
                raise anew(answer)
            if callable(answer):
                return await answer(given, context)
            return copy.deepcopy(answer)
        finally:
            self.running -= 1


class ScriptedProvider:
    """A provider of scripted tools, which may be added and removed while it is open."""

    def __init__(self) -> None:
        self._tools: dict[str, ScriptedTool] = {}
        self._version = 0
        self._told = 0
        self._bell = Bell()

    def __getitem__(self, name: str) -> ScriptedTool:
        return self._tools[name]

    @property
    def names(self) -> list[str]:
        """Those of its tools, in the order in which they came."""
        return list(self._tools)

    def add(
        self,
        name: str,
        *answers: JsonValue | Exception | Act,
        **options: Unpack[ToolOptions],
    ) -> ScriptedTool:
        """Add a tool, or put it in the place of the one with its name.

        The options are those of ``Broker.tool``: ``model`` or ``schema`` say which arguments
        it takes, any unless given. ConfigError when they are wrong.
        """
        whole = options.get("model") is not None or options.get("schema") is not None
        checks = declare(name, _one if whole else _any, Threads(), options)
        if isinstance(checks, Route):
            raise ConfigError(f"{name!r} is a pattern; a scripted tool has one name")
        tool = self._tools[name] = ScriptedTool(checks, answers)
        self._change()
        return tool

    def remove(self, name: str) -> None:
        """Take a tool away."""
        del self._tools[name]
        self._change()

    def _change(self) -> None:
        self._version += 1
        self._bell.ring()

    async def tools(self) -> Sequence[Tool]:
        await checkpoint()
        self._told = self._version
        self._bell.ring()
        return list(self._tools.values())

    async def watch(self, publish: Publish) -> None:
        published = self._told

        def changed() -> bool:
            return published != self._version

        while True:
            await self._bell.until(changed)
            version = self._version
            await publish(list(self._tools.values()))
            published = self._told = version
            self._bell.ring()

    async def settled(self) -> None:
        """Return when whoever watches has been told of all changes."""
        await self._bell.until(lambda: self._told == self._version)


async def _any(**arguments: Any) -> Any:
    raise NotImplementedError("it is only asked for its schema")


async def _one(arguments: Any) -> Any:
    raise NotImplementedError("it is only asked for its schema")
