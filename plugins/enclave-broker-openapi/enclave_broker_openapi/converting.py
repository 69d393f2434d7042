"""Makes a JSON Schema of today from a schema of any version of OpenAPI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from .discriminators import choose
from .document import Document, Place, joined
from .keywords import (
    LISTS_OF_SCHEMAS,
    MAPS_OF_SCHEMAS,
    MOST_CHOICES,
    ONE_SCHEMA,
    PLAIN,
    TYPES,
    cut,
    short_ones,
    unique,
)
from .problems import OperationError

Direction = Literal["request", "form", "response"]
"""What a schema is for: the body that is sent, one whose parts may be files, or an answer."""

Schema = dict[str, Any]

FILE = "File"
TOO_LARGE: Mapping[str, Any] = {
    "description": "Anything: the schema is too large to be shown here."
}

# Of one schema without what it refers to: its nodes, long texts counting as several.
MOST_NODES = 2000
DEEPEST = 40


class Conversion:
    """One schema on its way; it ends at the references in it."""

    def __init__(
        self,
        document: Document,
        direction: Direction,
        base: str,
        name_of: Callable[[Place], str],
        usable_pattern: Callable[[Any], bool],
        doubtful: Callable[[str], None],
    ) -> None:
        self._document = document
        self._direction = direction
        self._old = document.version in ("2.0", "3.0")
        self._base = base
        self._name_of = name_of
        self._usable_pattern = usable_pattern
        self._doubtful = doubtful
        self._nodes = 0
        self.names: set[str] = set()

    def schema(self, node: Any) -> Any:
        """The schema; ``names`` are then those of ``$defs`` that it refers to."""
        return self._schema(node, self._base, 0)

    def _schema(self, node: Any, base: str, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES or depth > DEEPEST:
            return TOO_LARGE
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            self._doubtful(f"a schema is a {type(node).__name__}")
            return {}
        if not self._old and isinstance(node.get("$id"), str):
            base = joined(base, node["$id"])[0]
        made: Schema = {}
        reference = node.get("$ref", node.get("$dynamicRef"))
        if isinstance(reference, str):
            made["$ref"] = f"#/$defs/{self._referred(reference, base)}"
            if self._old:
                # What stands beside a reference does not count there, but two things are meant.
                node = {key: node[key] for key in ("description", "nullable") if key in node}
        if self._direction == "form" and self._is_file(node):
            self.names.add(FILE)
            about = {key: node[key] for key in ("title", "description") if key in node}
            return {"$ref": f"#/$defs/{FILE}", **self._plain(about)}
        made |= self._plain(node)
        self._types(node, made)
        self._children(node, made, base, depth + 1)
        if node.get("nullable") is True or node.get("x-nullable") is True:
            made = _nullable(made) if self._old else made
        return made

    def _referred(self, reference: str, base: str) -> str:
        name = self._name_of(self._document.find(reference, base))
        self.names.add(name)
        return name

    def _is_file(self, node: Mapping[str, Any]) -> bool:
        kind = node.get("type")
        if kind == "file":
            return True
        text = kind == "string" or (isinstance(kind, list) and "string" in kind)
        if text and node.get("format") == "binary":
            return True
        raw = "contentMediaType" in node and "contentEncoding" not in node
        return not self._old and raw and (text or kind is None)

    def _plain(self, node: Mapping[str, Any]) -> Schema:
        made: Schema = {}
        for key, value in node.items():
            fits = PLAIN.get(key)
            if fits is None:
                continue
            if self._old and isinstance(value, bool) and key.startswith("exclusive"):
                continue  # it is about minimum or maximum
            if fits(value):
                made[key] = cut(value) if key in ("title", "description") else value
                self._nodes += len(value) // 100 if key == "description" else 0
            elif not (key == "required" and isinstance(value, bool)):
                self._doubtful(f"{key} can't be {str(value)[:40]!r}")
        if self._old:
            for bound, exclusive in (
                ("minimum", "exclusiveMinimum"),
                ("maximum", "exclusiveMaximum"),
            ):
                if node.get(exclusive) is True and bound in made:
                    made[exclusive] = made.pop(bound)
        pattern = node.get("pattern")
        if pattern is not None and self._usable_pattern(pattern):
            made["pattern"] = pattern
        self._choices(node, made)
        self._examples(node, made)
        return made

    def _choices(self, node: Mapping[str, Any], made: Schema) -> None:
        choices = node.get("enum")
        if not isinstance(choices, list) or not choices:
            return
        self._nodes += min(len(choices), MOST_CHOICES) // 4
        if len(choices) > MOST_CHOICES:
            some = ", ".join(str(choice) for choice in choices[:20])
            said = f"One of {len(choices)} values, among them {cut(some, 400)}"
            made["description"] = f"{made.get('description', '')}\n{said}".strip()
        else:
            made["enum"] = unique(choices)

    def _examples(self, node: Mapping[str, Any], made: Schema) -> None:
        examples = node.get("examples")
        if not isinstance(examples, list):
            examples = [node["example"]] if "example" in node else []
        if short := short_ones(examples):
            made["examples"] = short

    def _types(self, node: Mapping[str, Any], made: Schema) -> None:
        kind = node.get("type")
        if kind == "file":
            made["type"] = "string"
            return
        if isinstance(kind, list):
            known = [one for one in unique(kind) if isinstance(one, str) and one in TYPES]
            if known:
                made["type"] = known[0] if len(known) == 1 else known
        elif isinstance(kind, str) and kind in TYPES:
            made["type"] = kind
        elif kind is not None:
            self._doubtful(f"there is no type {str(kind)[:40]!r}")

    def _children(self, node: Mapping[str, Any], made: Schema, base: str, depth: int) -> None:
        for key, value in node.items():
            if key in ONE_SCHEMA:
                if isinstance(value, dict | bool):
                    made[key] = self._schema(value, base, depth)
            elif key in LISTS_OF_SCHEMAS:
                if isinstance(value, list) and value:
                    made[key] = [self._schema(item, base, depth) for item in value]
            elif key in MAPS_OF_SCHEMAS and isinstance(value, dict):
                made[key] = {
                    name: self._schema(item, base, depth)
                    for name, item in value.items()
                    if key != "patternProperties" or self._usable_pattern(name)
                }
        items = node.get("items")
        if isinstance(items, list) and items:
            made.setdefault("prefixItems", [self._schema(item, base, depth) for item in items])
        elif isinstance(items, dict | bool):
            made["items"] = self._schema(items, base, depth)
        if isinstance(node.get("properties"), dict):
            self._properties(node["properties"], made, base, depth)
        if isinstance(node.get("discriminator"), dict):
            choose(self._document, node, made, base)

    def _properties(
        self, properties: Mapping[str, Any], made: Schema, base: str, depth: int
    ) -> None:
        hidden = "writeOnly" if self._direction == "response" else "readOnly"
        kept: Schema = {}
        left_out: set[str] = set()
        for name, node in properties.items():
            if self._has_mark(node, base, hidden):
                left_out.add(name)
            else:
                kept[name] = self._schema(node, base, depth)
        made["properties"] = kept
        if left_out and "required" in made:
            made["required"] = [name for name in made["required"] if name not in left_out]

    def _has_mark(self, node: Any, base: str, mark: str) -> bool:
        if not isinstance(node, dict):
            return False
        if node.get(mark) is True:
            return True
        if not isinstance(node.get("$ref"), str):
            return False
        try:
            target, _ = self._document.followed(node, base)
        except OperationError:
            return False  # said where it is converted
        return isinstance(target, dict) and target.get(mark) is True


def _nullable(made: Schema) -> Schema:
    """The schema, or null."""
    kind = made.get("type")
    if isinstance(kind, str) and "$ref" not in made:
        plain = {**made, "type": [kind, "null"]}
        if "enum" in plain and None not in plain["enum"]:
            plain["enum"] = [*plain["enum"], None]
        if not {"allOf", "anyOf", "oneOf", "not"} & plain.keys():
            return plain
    about: Schema = {key: made[key] for key in ("title", "description") if key in made}
    rest = {key: value for key, value in made.items() if key not in about}
    return {**about, "anyOf": [rest, {"type": "null"}]} if rest else made
