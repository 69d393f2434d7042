"""Holds back what is not as it was accepted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

import anyio
import anyio.to_thread
from pydantic import JsonValue

from enclave_broker_core.contracts import ToolContext
from enclave_broker_core.errors import ArgumentsError, BrokerError, UnknownToolError
from enclave_broker_core.json_form import NotJsonError, parse
from enclave_broker_core.models import ToolSpec

from .catalog import Compiled
from .definitions import Definition
from .errors import HeldBackError
from .pins import PinFile

_log = logging.getLogger(__name__)

# How often, in seconds, it is looked whether something more was accepted.
LOOK = 2.0
_MOST_SAID = 10

Why = Literal["new", "changed"]
SAID: Mapping[Why, str] = {
    "new": "it was never accepted",
    "changed": "it is not what it was when it was accepted",
}


class Pinning:
    """Knows what was accepted of one server's tools.

    ``held`` is what is held back now, of what could be offered; ``_offered`` is the rest of it.
    """

    def __init__(self, name: str, file: PinFile) -> None:
        self.held: Mapping[str, Why] = {}
        self._offered: frozenset[str] = frozenset()
        self._told: Mapping[str, Why] = {}
        self._name = name
        self._file = file
        self._stamp = file.stamp()
        self._accepted: Mapping[str, Definition] = file.read()

    def sort(self, made: Sequence[Compiled]) -> Sequence[Compiled]:
        """Those that were accepted as they are; the others are held back."""
        held: dict[str, Why] = {}
        for one in made:
            known = self._accepted.get(one.definition.name)
            if known is None:
                held[one.definition.name] = "new"
            elif known.digest != one.definition.digest:
                held[one.definition.name] = "changed"
        self.held = held
        offered = [one for one in made if one.definition.name not in held]
        self._offered = frozenset(one.definition.name for one in offered)
        return offered

    async def changed(self) -> None:
        """Wait until the file is another. One that is wrong accepts nothing."""
        while True:
            await anyio.sleep(LOOK)
            stamp = await anyio.to_thread.run_sync(self._file.stamp)
            if stamp == self._stamp:
                continue
            self._stamp = stamp
            try:
                self._accepted = await anyio.to_thread.run_sync(self._file.read)
            except BrokerError as problem:
                _log.error("%s: all tools are held back: %s", self._name, problem.message)
                self._accepted = {}
            return

    def require(self, tool: Compiled) -> None:
        """HeldBackError or UnknownToolError for what is not offered now, whoever still has it."""
        if tool.definition.name not in self._offered:
            self.refuse(tool.definition.name)

    def refuse(self, name: str) -> NoReturn:
        if name not in self.held:
            raise UnknownToolError(f"there is no tool named {f'{self._name}:{name}'!r}")
        raise HeldBackError(
            f"{self._name}:{name} is held back: {SAID[self.held[name]]}. An operator can look at"
            f" it, and accept it, with 'enclave-broker tools accept {self._name}'"
        )

    def tell(self) -> None:
        """Log what is held back and was not a moment ago."""
        fresh = [name for name, why in self.held.items() if self._told.get(name) != why]
        self._told = self.held
        for name in fresh[:_MOST_SAID]:
            _log.warning("%s: %s is held back: %s", self._name, name, SAID[self.held[name]])
        if len(fresh) > _MOST_SAID:
            _log.warning("%s: and %d more are held back", self._name, len(fresh) - _MOST_SAID)
        if fresh:
            _log.warning("'enclave-broker tools accept %s' shows what is held back", self._name)


class HeldBack:
    """Takes the calls of what is held back: it is in no catalog, and who calls it hears why."""

    def __init__(self, name: str, pinning: Pinning) -> None:
        self.spec = ToolSpec(name=f"{name}:*", input_schema={"type": "object"}, source=name)
        self._prefix = f"{name}:"
        self._pinning = pinning

    def validate(self, arguments_json: bytes) -> dict[str, Any]:
        try:
            arguments = parse(arguments_json)
        except NotJsonError as problem:
            raise ArgumentsError(f"the arguments of {self.spec.name}: {problem}") from None
        if not isinstance(arguments, dict):
            raise ArgumentsError(f"the arguments of {self.spec.name} must be an object, by name")
        return arguments

    def dump(self, arguments: Any) -> Mapping[str, JsonValue]:
        return dict(arguments)

    async def invoke(self, arguments: Any, context: ToolContext) -> Any:
        self._pinning.refuse(context.tool.removeprefix(self._prefix))
