"""A server's schemas as they can be shown to agents and checked by, or why they can't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from enclave_broker_core.errors import ArgumentsError, ConfigError
from enclave_broker_core.schema_bounds import PATTERN_BYTES, require_bounded
from enclave_broker_core.schema_tools import Check, schema_check

from .texts import has_hidden, visible

MOST_BYTES = 64 * 1024
LONGEST_TEXT = 2000
_DIALECTS = tuple(
    f"{start}://json-schema.org/{path}/schema"
    for start in ("http", "https")
    for path in ("draft-04", "draft-06", "draft-07", "draft/2019-09", "draft/2020-12")
)
_SHOWN = frozenset({"description", "title", "$comment"})


class SchemaError(ValueError):
    """The schema can't be used; the message says why."""


def usable(schema: Mapping[str, Any]) -> tuple[dict[str, Any], Check]:
    """The schema without what is hidden in its texts, and its check. SchemaError."""
    if len(to_json(schema)) > MOST_BYTES:
        raise SchemaError(f"has more than {MOST_BYTES} bytes")
    own = {key: value for key, value in schema.items() if key != "$schema"}
    try:
        # First: what follows goes as deep as the schema does.
        require_bounded("it", own)
    except ArgumentsError as problem:
        raise SchemaError(problem.message.removeprefix("the schema of it ")) from None
    cleaned: dict[str, Any] = _cleaned(own)
    dialect = schema.get("$schema")
    if isinstance(dialect, str) and dialect.rstrip("#") in _DIALECTS:
        cleaned["$schema"] = dialect
    try:
        return cleaned, schema_check("it", cleaned, pattern_bytes=PATTERN_BYTES)
    except ConfigError as problem:
        raise SchemaError(f"is {problem.message.partition(': ')[2]}") from None


def patterns_in(value: Any) -> int:
    """How many patterns a schema has, each counted where it is written."""
    if isinstance(value, Mapping):
        own = isinstance(value.get("pattern"), str)
        named = value.get("patternProperties")
        named = len(named) if isinstance(named, Mapping) else 0
        return own + named + sum(map(patterns_in, value.values()))
    return sum(map(patterns_in, value)) if isinstance(value, list) else 0


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        made = {}
        for key, item in value.items():
            if has_hidden(key):
                raise SchemaError("has invisible characters in a name")
            if key in _SHOWN and isinstance(item, str):
                made[key] = visible(item, LONGEST_TEXT)
            else:
                made[key] = _cleaned(item)
        return made
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, str) and has_hidden(value):
        raise SchemaError("has invisible characters in a value")
    return value
