"""One operation as a tool of the broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from typing import Any

from pydantic import JsonValue

from enclave_broker_core.contracts import ToolContext
from enclave_broker_core.errors import ArgumentsError
from enclave_broker_core.json_form import NotJsonError, parse
from enclave_broker_core.schema_tools import schema_check

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
        try:
            arguments = parse(arguments_json)
        except NotJsonError as problem:
            raise ArgumentsError(f"the arguments of {name}: {problem}") from None
        check = self._check
        if check is None:
            # Of thousands of tools few are called: the check is made for the first call.
            check = self._check = schema_check(name, self.spec.input_schema)
        fields = check(arguments)
        if fields:
            said = "; ".join(f"{field}: {reason}" if field else reason for field, reason in fields)
            raise ArgumentsError(f"the arguments of {name} are wrong: {said}", fields=fields)
        checked: dict[str, Any] = arguments
        return checked

    def dump(self, arguments: Any) -> Mapping[str, JsonValue]:
        dumped: Mapping[str, JsonValue] = deepcopy(arguments)
        return dumped

    def invoke(self, arguments: Any, context: ToolContext) -> Awaitable[Any]:
        return self._sender.call(self._compiled, arguments, context)
