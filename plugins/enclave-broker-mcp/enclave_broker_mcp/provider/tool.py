"""A tool of a server as a tool of the broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from typing import Any

from pydantic import JsonValue

from enclave_broker_core.contracts import ToolContext
from enclave_broker_core.schema_tools import checked_arguments

from .catalog import Compiled

Call = Callable[[Compiled, Mapping[str, Any], ToolContext], Awaitable[Any]]


class ServerTool:
    """Checks arguments by the tool's schema, and has its server called."""

    def __init__(self, compiled: Compiled, call: Call) -> None:
        self.spec = compiled.spec
        self._compiled = compiled
        self._call = call

    def validate(self, arguments_json: bytes) -> dict[str, Any]:
        return checked_arguments(self.spec.name, arguments_json, self._compiled.check)

    def dump(self, arguments: Any) -> Mapping[str, JsonValue]:
        dumped: Mapping[str, JsonValue] = deepcopy(arguments)
        return dumped

    def invoke(self, arguments: Any, context: ToolContext) -> Awaitable[Any]:
        return self._call(self._compiled, arguments, context)
