"""The small schemas that others are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIMESTAMP: Schema = {"type": "string", "format": "date-time", "pattern": "Z$"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
ANYTHING: Schema = {}
SESSION_ID: Schema = {"type": "string", "pattern": "^s_[A-Za-z0-9_-]{1,64}$"}
CALL_ID: Schema = {"type": "string", "pattern": "^c_[A-Za-z0-9_-]+$"}
REQUEST_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"}


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
