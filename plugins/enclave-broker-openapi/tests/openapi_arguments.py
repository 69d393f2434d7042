"""Values that fit a JSON Schema, for the keywords that the documents of these tests have."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# JSON has no half characters, and numbers that each reader reads alike.
CHARACTERS = st.characters(exclude_categories=("Cs",))
INTEGERS = st.integers(-(2**53), 2**53)
NUMBERS = INTEGERS | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(CHARACTERS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(CHARACTERS), inner, max_size=3)
    ),
    max_leaves=6,
)
DEEPEST = 6


def fitting(schema: Any, root: Any = None, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that fit; ``root`` has the definitions."""
    root = schema if root is None else root
    if schema is True or not (schema := dict(schema)):
        return ANYTHING
    if "$ref" in schema:
        return fitting(root["$defs"][schema["$ref"].rpartition("/")[2]], root, depth + 1)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema and "type" not in schema:
            return st.one_of([fitting(one, root, depth + 1) for one in schema[key]])
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return st.one_of([fitting({**schema, "type": kind}, root, depth) for kind in kinds])
    return _of_kind(schema, kinds, root, depth)


def _of_kind(schema: Any, kind: Any, root: Any, depth: int) -> st.SearchStrategy[Any]:
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", 0 if depth > DEEPEST and not least else 4)
        items = fitting(schema.get("items", True), root, depth + 1)
        return st.lists(items, min_size=least, max_size=max(least, most))
    if kind == "string":
        least = schema.get("minLength", 0)
        return st.text(CHARACTERS, min_size=least, max_size=schema.get("maxLength"))
    if kind == "integer":
        return INTEGERS
    if kind == "number":
        return NUMBERS
    return {"boolean": st.booleans(), "null": st.none()}.get(kind, ANYTHING)


def _object(schema: Any, root: Any, depth: int) -> st.SearchStrategy[Any]:
    required = set(schema.get("required", ()))
    properties = {
        name: fitting(one, root, depth + 1)
        for name, one in schema.get("properties", {}).items()
        if name in required or depth <= DEEPEST
    }
    given = st.fixed_dictionaries(
        {name: one for name, one in properties.items() if name in required},
        optional={name: one for name, one in properties.items() if name not in required},
    )
    more = schema.get("additionalProperties", False)
    if more is False:
        return given
    others = st.dictionaries(
        st.text(CHARACTERS).filter(lambda name: name not in properties),
        fitting(more, root, depth + 1),
        min_size=schema.get("minProperties", 0),
        max_size=max(3, schema.get("minProperties", 0)),
    )
    return st.tuples(given, others).map(lambda both: both[0] | both[1])
