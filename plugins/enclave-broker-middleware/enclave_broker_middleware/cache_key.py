"""The arguments of a call in one form, however they were written."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import JsonValue
from pydantic_core import from_json

# Up to here every integer has a float of its own, so that one can stand for the other.
MOST_EXACT = 2**53
MOST_REFERENCES = 16


def normal_arguments(arguments_json: bytes, schema: Mapping[str, Any]) -> JsonValue:
    """The arguments with the schema's defaults filled in and whole floats as integers.

    Defaults are filled in where the schema says what an object has: in its ``properties``,
    in ``items``, and behind a reference within it. What it leaves to alternatives stays as
    it is: then two ways of writing one call are two.
    """
    arguments: JsonValue = _normal(from_json(arguments_json), schema, schema)
    return arguments


def key_of(*parts: JsonValue) -> bytes:
    """A digest of JSON values: equal for equal ones, whatever the order of their members.

    ValueError or RecursionError for what has no JSON text.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def _normal(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) <= MOST_EXACT
        return int(value) if whole and (value or math.copysign(1, value) > 0) else value
    if isinstance(value, dict):
        schema = _resolved(schema, root)
        properties = _mapping(schema.get("properties"))
        others = schema.get("additionalProperties")
        members = {
            name: _normal(item, properties.get(name, others), root) for name, item in value.items()
        }
        for name, about in properties.items():
            if name not in members and isinstance(about, Mapping) and "default" in about:
                # Not by its schema: one that refers to itself would have no end.
                members[name] = _normal(deepcopy(about["default"]), None, root)
        return members
    if isinstance(value, list):
        schema = _resolved(schema, root)
        first, rest = schema.get("prefixItems"), schema.get("items")
        first = first if isinstance(first, list) else []
        return [
            _normal(item, first[at] if at < len(first) else rest, root)
            for at, item in enumerate(value)
        ]
    return value


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema, or what it refers to within its root; an empty one for anything else."""
    for _ in range(MOST_REFERENCES):
        found = _mapping(schema)
        reference = found.get("$ref")
        if not isinstance(reference, str):
            return found
        if not reference.startswith("#"):
            return {}
        schema = root
        for name in reference[1:].split("/")[1:]:
            schema = _mapping(schema).get(name.replace("~1", "/").replace("~0", "~"))
    return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
