"""The small schemas that others are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

TEXT: Mapping[str, Any] = {"type": "string"}
COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
TIMESTAMP: Mapping[str, Any] = {"type": "string", "format": "date-time", "pattern": "Z$"}
BOOLEAN: Mapping[str, Any] = {"type": "boolean"}
OBJECT: Mapping[str, Any] = {"type": "object"}
ANYTHING: Mapping[str, Any] = {}
SESSION_ID: Mapping[str, Any] = {"type": "string", "pattern": "^s_[A-Za-z0-9_-]{1,64}$"}
CALL_ID: Mapping[str, Any] = {"type": "string", "pattern": "^c_[A-Za-z0-9_-]+$"}
REQUEST_ID: Mapping[str, Any] = {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"}


def ref(name: str) -> dict[str, str]:
    """A reference to the schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(
    required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None
) -> dict[str, Any]:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def items(item: Schema) -> dict[str, Any]:
    return {"type": "array", "items": item}
