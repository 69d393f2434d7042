"""Blots sensitive values out of results, errors and, if asked, of what tools are given."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Self

import anyio.to_thread
from pydantic import Field, model_validator
from pydantic_core import to_json

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext, Middleware, OpenContext
from enclave_broker_core.errors import BrokerError, ToolError
from enclave_broker_core.models import Frozen

from .pointers import Pointers, parse_pointer, replaced
from .selection import ToolPatterns, Tools
from .sensitive import LONGEST_CARD, SHORTEST_CARD, Kind, blotter

REDACTED = "[redacted]"
# What is larger is worked on in a thread, so that other calls go on.
LARGE = 16 * 1024
# From which number on an integer may be a card's, and from which on no more.
CARDS = (10 ** (SHORTEST_CARD - 1), 10**LONGEST_CARD)

Regex = Annotated[str, Field(min_length=1, max_length=2000)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class RedactConfig(Frozen):
    """What is blotted out, and where."""

    tools: ToolPatterns = ("*",)
    """Patterns of the tools that it is for."""
    kinds: tuple[Kind, ...] = ("email", "phone", "credit_card", "token")
    """Kinds of values that are known here."""
    patterns: Mapping[Name, Regex] = Field(default_factory=dict, max_length=64)
    """Others: a name, and a regular expression of RE2."""
    pointers: Pointers = ()
    """JSON pointers to what is blotted out whatever it is, with ``*`` for every item of a list or
    every member of an object."""
    results: bool = True
    """Whether results are looked through."""
    errors: bool = True
    """Whether messages and details of errors are."""
    arguments: bool = False
    """Whether arguments are; then the tool gets the blotted ones."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        for name, pattern in self.patterns.items():
            try:
                blotter((), [(name, pattern)])
            except ValueError as problem:
                raise ValueError(f"patterns.{name} {problem}") from None
        return self


class Redact:
    """Blots out of texts, of the names of members, and cards that are numbers.

    ``pointers`` are for results and arguments alike. What the tool told while it ran, and
    the arguments as they are recorded, are out of a middleware's reach.
    """

    def __init__(self, config: RedactConfig | None = None) -> None:
        config = self._config = config or RedactConfig()
        self._tools = Tools(config.tools)
        self._pointers = [parse_pointer(text) for text in config.pointers]
        self._blot = blotter(config.kinds, config.patterns.items())
        self._numbers = "credit_card" in config.kinds

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        if call.name not in self._tools:
            return await call_next(call)
        if self._config.arguments:
            given = dict(call.args)
            changed = await self._redacted(given, len(call.arguments_json))
            if changed != given:
                call = call.replace(args=changed)
        try:
            result = await call_next(call)
        except Exception as error:
            told = self._told(error) if self._config.errors else error
            if told is error:
                raise
            raise told from None
        if not self._config.results:
            return result
        try:
            size = len(to_json(result))
        except ValueError as problem:
            said = self._blot(str(problem))
            raise ToolError(f"the result of {call.name} can't be passed on: {said}") from None
        return await self._redacted(result, size)

    async def _redacted(self, value: Any, size: int) -> Any:
        if size <= LARGE:
            return self.redacted(value)
        # What is cancelled meanwhile needs no answer, and the thread touches nothing else.
        return await anyio.to_thread.run_sync(partial(self.redacted, value), abandon_on_cancel=True)

    def redacted(self, value: Any) -> Any:
        """A copy of a JSON value with all that is sensitive in it blotted out."""
        return self._each(replaced(value, self._pointers, lambda _: REDACTED))

    def _each(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._blot(value)
        if isinstance(value, list):
            return [self._each(item) for item in value]
        if isinstance(value, dict):
            return self._members(value)
        if self._numbers and type(value) is int and CARDS[0] <= value < CARDS[1]:
            text = str(value)
            blotted = self._blot(text)
            return value if blotted == text else blotted
        return value

    def _members(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Those whose names become alike are numbered."""
        members: dict[str, Any] = {}
        counts: Counter[str] = Counter()
        for name, item in value.items():
            blotted = plain = self._blot(name)
            while blotted in members or (blotted in value and blotted != name):
                counts[plain] += 1
                blotted = f"{plain} {counts[plain]}"
            members[blotted] = self._each(item)
        return members

    def _told(self, error: Exception) -> Exception:
        """The error as the caller may hear it; itself when there is nothing to blot out."""
        if not isinstance(error, BrokerError):
            said = str(error)
            blotted = self._blot(said)
            return error if blotted == said else ToolError(blotted)
        message, details = self._blot(error.message), self._each(list(error.details))
        if message == error.message and details == list(error.details):
            return error
        told = copy.copy(error)
        told.message, told.args, told.details = message, (message,), tuple(details)
        return told


@asynccontextmanager
async def open_redact(config: RedactConfig, context: OpenContext) -> AsyncIterator[Middleware]:
    yield Redact(config)
