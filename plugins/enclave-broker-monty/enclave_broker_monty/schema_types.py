"""JSON Schema as Python's types. What has no counterpart becomes Any: never too narrow."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .signatures import is_parameter

ANY = "_t.Any"
MAX_DEPTH = 16
MAX_LITERALS = 64
MAX_DEFINITIONS = 2000
MAX_PROPERTIES = 200

_PLAIN = MappingProxyType(
    {
        "string": "_b.str",
        "integer": "_b.int",
        "number": "_b.float",
        "boolean": "_b.bool",
        "null": "None",
    }
)


class SchemaTypes:
    """Collects the TypedDicts that the schemas of one module need, in ``definitions``.

    What a tool takes is described widely (Sequence, Mapping), so that a ``list[int]`` can
    be given for numbers; what it returns exactly. ``definitions`` begin with an underscore,
    as no tool's name does.
    """

    def __init__(self) -> None:
        self.definitions: list[str] = []
        self._names: set[str] = set()
        self._seen: dict[tuple[int, bool], str | None] = {}
        # The memory is by identity; a schema that is kept can't lose its identity.
        self._kept: list[Any] = []

    def argument(self, schema: Any, root: Any, hint: str) -> str:
        return self._type(schema, root, hint, 0, taken=True)

    def result(self, schema: Any, hint: str) -> str:
        return ANY if schema is None else self._type(schema, schema, hint, 0, taken=False)

    def _type(self, schema: Any, root: Any, hint: str, depth: int, *, taken: bool) -> str:
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
            return ANY
        found = self._plain_type(schema, root, hint, depth, taken)
        if schema.get("nullable") is True and found != ANY:
            return _union([found, "None"])
        return found

    def _plain_type(
        self, schema: Mapping[str, Any], root: Any, hint: str, depth: int, taken: bool
    ) -> str:
        def inner(part: Any, suffix: str = "") -> str:
            return self._type(part, root, hint + suffix, depth + 1, taken=taken)

        if "$ref" in schema:
            return self._reference(schema["$ref"], root, hint, depth, taken)
        if "const" in schema:
            return _literals([schema["const"]])
        if isinstance(schema.get("enum"), list):
            return _literals(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                return _union([inner(part) for part in schema[key][:MAX_LITERALS]])
        if isinstance(schema.get("allOf"), list):
            return inner(schema["allOf"][0]) if len(schema["allOf"]) == 1 else ANY
        kind = schema.get("type")
        if isinstance(kind, list):
            return _union([inner({**schema, "type": one}) for one in kind[:MAX_LITERALS]])
        if kind == "array":
            items = ANY if "prefixItems" in schema else inner(schema.get("items"), "_item")
            return f"_t.Sequence[{items}]" if taken else f"_b.list[{items}]"
        if kind == "object" or (kind is None and isinstance(schema.get("properties"), Mapping)):
            return self._object(schema, root, hint, depth, taken)
        return _PLAIN.get(kind, ANY) if isinstance(kind, str) else ANY

    def _reference(self, reference: Any, root: Any, hint: str, depth: int, taken: bool) -> str:
        target = _resolve(reference, root)
        if not isinstance(target, Mapping):
            return ANY
        key = (id(target), taken)
        if key in self._seen:
            # None: it is being made right now and is no class, so it has no name to use.
            return self._seen[key] or ANY
        self._seen[key] = None
        self._kept.append(target)
        name = str(reference).rsplit("/", 1)[-1]
        found = self._type(
            target, root, name if is_parameter(name) else hint, depth + 1, taken=taken
        )
        self._seen[key] = found
        return found

    def _object(
        self, schema: Mapping[str, Any], root: Any, hint: str, depth: int, taken: bool
    ) -> str:
        properties = schema.get("properties")
        rest = schema.get("additionalProperties")
        wide = "_t.Mapping" if taken else "_b.dict"
        if not isinstance(properties, Mapping) or not properties:
            kind = self._type(rest, root, f"{hint}_value", depth + 1, taken=taken)
            return f"{wide}[_b.str, {kind}]"
        open_ended = rest is True or isinstance(rest, Mapping)
        too_much = len(properties) > MAX_PROPERTIES or len(self._names) >= MAX_DEFINITIONS
        if open_ended or too_much or not all(map(is_parameter, properties)):
            return f"{wide}[_b.str, {ANY}]"
        name = self._new_name(hint)
        # A reference to this very object, from inside of it, finds the name.
        if (id(schema), taken) in self._seen:
            self._seen[id(schema), taken] = name
        listed = schema.get("required")
        required = set(map(str, listed)) if isinstance(listed, list) else set()
        lines = [f"class {name}(_t.TypedDict):"]
        for field, part in properties.items():
            kind = self._type(part, root, f"{hint}_{field}", depth + 1, taken=taken)
            lines.append(f"    {field}: {kind if field in required else f'_t.NotRequired[{kind}]'}")
        self.definitions.append("\n".join(lines) + "\n")
        return name

    def _new_name(self, hint: str) -> str:
        words = "".join(char if char.isascii() and char.isalnum() else "_" for char in hint)
        wanted = "_" + "".join(word[:1].upper() + word[1:] for word in words.split("_"))[:60]
        name, number = wanted, 2
        while name in self._names or name in ("_", "_b", "_t"):
            name, number = f"{wanted}{number}", number + 1
        self._names.add(name)
        return name


def _resolve(reference: Any, root: Any) -> Any:
    """The part of ``root`` that a local JSON pointer names; None for any other reference."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    target = root
    for step in reference[1:].split("/")[1:]:
        if not isinstance(target, Mapping):
            return None
        target = target.get(step.replace("~1", "/").replace("~0", "~"))
    return target


def _literals(values: list[Any]) -> str:
    """Literal[…] for strings, whole numbers, truth values and None; Any for all else."""
    if not values or len(values) > MAX_LITERALS:
        return ANY
    if not all(value is None or type(value) in (str, int, bool) for value in values):
        return ANY
    return f"_t.Literal[{', '.join(map(ascii, values))}]"


def _union(kinds: list[str]) -> str:
    different = list(dict.fromkeys(kinds))
    return ANY if ANY in different or not different else " | ".join(different)
