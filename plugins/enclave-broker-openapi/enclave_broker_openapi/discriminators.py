"""Choices among schemas where a property of the value says which one it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .document import Document, Place
from .problems import OperationError


def choose(document: Document, node: Mapping[str, Any], made: dict[str, Any], base: str) -> None:
    """In the schema that was ``made`` of a node, let the discriminating property choose: the
    schemas that it chooses from may be alike, and then more than one of them fits a value.
    """
    discriminator, choices = node["discriminator"], node.get("oneOf")
    name = discriminator.get("propertyName")
    if not isinstance(name, str) or not isinstance(choices, list) or "oneOf" not in made:
        return
    mapping = discriminator.get("mapping")
    named = _mapped(document, mapping if isinstance(mapping, dict) else {}, base)
    default = _mapped(document, {"": discriminator.get("defaultMapping")}, base)
    made_choices = made.pop("oneOf")
    for at, choice in enumerate(choices):
        reference = choice.get("$ref") if isinstance(choice, dict) else None
        if not isinstance(reference, str):
            continue
        place = document.find(reference, base)
        if place.key in default or _says(document, place, name):
            continue
        values = named.get(place.key, [place.key.rsplit("/", 1)[-1]])
        chosen = {"properties": {name: {"enum": values}}, "required": [name]}
        made_choices[at] = {**made_choices[at], **chosen}
    if "anyOf" in made:
        made["allOf"] = [*made.get("allOf", ()), {"anyOf": made_choices}]
    else:
        made["anyOf"] = made_choices


def _mapped(document: Document, mapping: Mapping[str, Any], base: str) -> dict[str, list[str]]:
    """The key of each schema that a mapping names, with the values that mean it."""
    found: dict[str, list[str]] = {}
    for value, target in mapping.items():
        if not isinstance(target, str):
            continue
        section = "definitions" if document.version == "2.0" else "components/schemas"
        by_name = f"#/{section}/{target}"
        for reference in (target, by_name) if "/" in target else (by_name, target):
            try:
                key = document.find(reference, base).key
            except OperationError:
                continue
            found.setdefault(key, []).append(value)
            break
    return found


def _says(document: Document, place: Place, name: str) -> bool:
    """Whether a schema itself says which values its discriminating property has."""
    try:
        node, base = document.followed(place.node, place.base)
        own = node.get("properties", {}).get(name) if isinstance(node, dict) else None
        own, _ = document.followed(own, base)
    except (OperationError, AttributeError):
        return False
    return isinstance(own, dict) and ("enum" in own or "const" in own)
