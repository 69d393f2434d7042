"""One operation as a tool of the broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from typing import Any

from pydantic import JsonValue

from enclave_broker_core.contracts import ToolContext
from enclave_broker_core.schema_tools import checked_arguments, schema_check

from .compiling import Compiled
from .sending import Sender

_Check = Callable[[Any], list[tuple[str, str]]]


class OperationTool:
    """Checks arguments by the operation's schema, sends its request, returns its answer."""

    def __init__(self, compiled: Compiled, sender: Sender) -> None:
        self.spec = compiled.spec
        self._compiled = compiled
        self._sender = sender
        self._check: _Check | None = None

    def validate(self, arguments_json: bytes) -> dict[str, Any]:
        name = self.spec.name
        if self._check is None:
            # Of thousands of tools few are called: the check is made for the first call.
            self._check = schema_check(name, self.spec.input_schema)
        return checked_arguments(name, arguments_json, self._check)

    def dump(self, arguments: Any) -> Mapping[str, JsonValue]:
        dumped: Mapping[str, JsonValue] = deepcopy(arguments)
        return dumped

    def invoke(self, arguments: Any, context: ToolContext) -> Awaitable[Any]:
        return self._sender.call(self._compiled, arguments, context)
