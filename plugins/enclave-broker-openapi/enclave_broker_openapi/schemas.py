"""A document's schemas as JSON Schema of today, each made once and shared by all tools."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
from pydantic_core import to_json

from .converting import FILE, TOO_LARGE, Conversion, Direction
from .document import Document, Place

FILE_SCHEMA: Mapping[str, Any] = {
    "description": "A file: its text, or an object with its bytes in base64.",
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "base64": {"type": "string", "contentEncoding": "base64"},
                "text": {"type": "string"},
                "filename": {"type": "string", "maxLength": 255},
                "content_type": {"type": "string", "maxLength": 127},
            },
            "oneOf": [{"required": ["base64"]}, {"required": ["text"]}],
            "additionalProperties": False,
        },
    ],
}

# Of a tool's definitions together, in bytes of JSON.
MOST_SHOWN: Mapping[Direction, int] = {"request": 48_000, "form": 48_000, "response": 24_000}
# How many entries all $defs of a document's tools may have together. They share what they hold.
MOST_ENTRIES = 2_000_000

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


class Converted:
    """A schema that was made, and what it refers to in ``$defs``."""

    __slots__ = ("_size", "names", "schema")

    def __init__(self, schema: Any, names: frozenset[str]) -> None:
        self.schema = schema
        self.names = names
        self._size = 0

    @property
    def size(self) -> int:
        """Its bytes as JSON."""
        if not self._size:
            self._size = len(to_json(self.schema))
        return self._size


class Schemas:
    """Makes schemas for one direction. Nothing is inlined: a reference stays one, to ``$defs``.

    ``doubtful`` takes what was left out of a schema because it is no JSON Schema.
    """

    def __init__(
        self, document: Document, direction: Direction, doubtful: Callable[[str], None]
    ) -> None:
        self._document = document
        self._direction = direction
        self._doubtful = doubtful
        self._places: dict[str, Place] = {}
        self._names: dict[str, str] = {}
        self._made: dict[str, Converted] = {}
        self._converted: dict[tuple[int, str], tuple[Any, Converted]] = {}
        self._around: dict[frozenset[str], dict[str, Any]] = {}
        self._patterns: dict[str, bool] = {}
        self._entries = 0

    def convert(self, node: Any, base: str) -> Converted:
        """The schema of a node; OperationError when a reference in it leads nowhere.

        The same node is converted once, however many operations share it.
        """
        known = self._converted.get((id(node), base))
        if known is not None and known[0] is node:
            return known[1]
        conversion = Conversion(
            self._document,
            self._direction,
            base,
            self._name_of,
            self._usable_pattern,
            self._doubtful,
        )
        schema = conversion.schema(node)
        converted = Converted(schema, frozenset(conversion.names))
        if isinstance(node, dict):
            self._converted[id(node), base] = node, converted
        return converted

    def definitions(self, names: frozenset[str]) -> dict[str, Any]:
        """``$defs`` with these and all that they refer to, the nearest first; what no longer
        has room stands for anything.
        """
        known = self._around.get(names)
        if known is None:
            if self._entries > MOST_ENTRIES:
                return dict.fromkeys(names, TOO_LARGE)
            known = self._around[names] = self._collect(names)
            self._entries += len(known)
        return known

    def _collect(self, names: frozenset[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        waiting, size = sorted(names), 0
        for name in waiting:  # grows while it is gone through
            if name in found:
                continue
            made = self._definition(name)
            if found and size + made.size > MOST_SHOWN[self._direction]:
                found[name] = TOO_LARGE
                continue
            size += made.size
            found[name] = made.schema
            waiting += sorted(made.names - found.keys())
        return found

    def _definition(self, name: str) -> Converted:
        made = self._made.get(name)
        if made is None:
            if name not in self._places:  # the schema of files, which no document has
                return Converted(FILE_SCHEMA, frozenset())
            place = self._places[name]
            made = self._made[name] = self.convert(place.node, place.base)
        return made

    def _name_of(self, place: Place) -> str:
        """The place's name in ``$defs``, the same in all tools of the document."""
        name = self._names.get(place.key)
        if name is None:
            last = unquote(place.key).rstrip("/").rsplit("/", 1)[-1].rsplit("#", 1)[-1]
            name = _NOT_IN_NAMES.sub("_", last)[-60:] or "schema"
            if name == FILE or name in self._places:
                name = f"{name}_{hashlib.sha256(place.key.encode()).hexdigest()[:8]}"
            self._names[place.key] = name
            self._places[name] = place
        return name

    def _usable_pattern(self, pattern: Any) -> bool:
        """Whether the check can use a regular expression: it has no look-around."""
        if not isinstance(pattern, str):
            return False
        usable = self._patterns.get(pattern)
        if usable is None:
            try:
                jsonschema_rs.validator_for(
                    {"pattern": pattern},
                    pattern_options=jsonschema_rs.RegexOptions(),
                    offline=True,
                )
                usable = True
            except ValueError:
                usable = False
            self._patterns[pattern] = usable
            if not usable:
                self._doubtful(f"the pattern {pattern[:80]!r} can't be checked here")
        return usable
