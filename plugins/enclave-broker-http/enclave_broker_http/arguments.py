"""The arguments of a tool: a JSON Schema, given as one or parameter by parameter."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from enclave_broker_core.schema_tools import checked_arguments, schema_check

TYPES = frozenset({"string", "integer", "number", "boolean", "array", "object"})


def schema_of(parameters: Mapping[str, str | dict[str, Any]]) -> dict[str, Any]:
    """The schema for parameters in short form. ValueError for a wrong one.

    Each is a type (``"integer"``, or ``"integer?"`` when it may be left out), or a JSON Schema
    that may also have ``required = false``. What has a default may be left out too.
    """
    properties: dict[str, Any] = {}
    required = []
    for name, given in parameters.items():
        schema = _of_type(name, given) if isinstance(given, str) else dict(given)
        needed = schema.pop("required", "default" not in schema)
        if not isinstance(needed, bool):
            # In JSON Schema it is a list of properties.
            schema["required"] = needed
            needed = "default" not in schema
        properties[name] = schema
        if needed:
            required.append(name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _of_type(name: str, said: str) -> dict[str, Any]:
    kind = said.removesuffix("?")
    if kind not in TYPES:
        raise ValueError(
            f"the parameter {name}: {said!r} is no type; there are {', '.join(sorted(TYPES))},"
            " each with '?' behind it when it may be left out"
        )
    return {"type": kind} if kind == said else {"type": kind, "required": False}


class Checked:
    """Validates the arguments of one tool, and fills in the ``defaults`` of its parameters.

    ConfigError for what is no JSON Schema.
    """

    def __init__(self, tool: str, schema: dict[str, Any]) -> None:
        self._tool = tool
        self._check = schema_check(tool, schema)
        properties = schema.get("properties")
        self.defaults = {
            name: each["default"]
            for name, each in (properties if isinstance(properties, dict) else {}).items()
            if isinstance(each, dict) and "default" in each
        }

    def validate(self, arguments_json: bytes) -> dict[str, Any]:
        """ArgumentsError names each wrong field, and no value."""
        checked = checked_arguments(self._tool, arguments_json, self._check)
        for name, value in self.defaults.items():
            if name not in checked:
                checked[name] = copy.deepcopy(value)
        return checked
