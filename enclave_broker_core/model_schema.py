"""Finds its way in the JSON Schema of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, PydanticUserError

from .places import Place


def properties(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that may stand at a place, as far as the model's JSON Schema tells."""
    try:
        nodes = nodes_at(model, place)
    except PydanticUserError:
        return sorted(model.model_fields) if not place else []
    return sorted({key for node in nodes for key in node.get("properties", {})})


def is_secret(model: type[BaseModel], place: Place) -> bool:
    """Whether a value at a place is one to hide: a SecretStr, or nobody can tell."""
    try:
        around = [place[:length] for length in range(1, len(place) + 1)]
        nodes = [node for each in around for node in nodes_at(model, each)]
    except PydanticUserError:
        return True
    return any(node.get("writeOnly") for node in nodes)


def nodes_at(model: type[BaseModel], place: Place) -> list[dict[str, Any]]:
    """The schemas that a value at a place may meet.

    What the schema does not know is taken to be where its surroundings are: pydantic's
    locations also name members of unions. PydanticUserError for a model without a schema.
    """
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    nodes = [schema]
    for part in place:
        below = [inner for node in _all(nodes, definitions) for inner in _below(node, part)]
        nodes = below or nodes
    return _all(nodes, definitions)


def _all(nodes: Sequence[Any], definitions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The schemas, and those that they refer to or are a choice of."""
    waiting, done = list(nodes), list[dict[str, Any]]()
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, dict) and node not in done:
            done.append(node)
            if "$ref" in node:
                waiting.append(definitions.get(node["$ref"].rsplit("/", 1)[-1]))
            for key in ("anyOf", "oneOf", "allOf"):
                waiting.extend(node.get(key, ()))
    return done


def _below(node: Mapping[str, Any], part: str | int) -> list[Any]:
    if isinstance(part, int):
        ahead = node.get("prefixItems", [])
        return ahead[part : part + 1] or [node["items"]] if "items" in node else []
    if part in node.get("properties", {}):
        return [node["properties"][part]]
    # False says that nothing is there: then the part is the name of a union's member.
    others = [more] if (more := node.get("additionalProperties", False)) is not False else []
    return [*node.get("patternProperties", {}).values(), *others]
