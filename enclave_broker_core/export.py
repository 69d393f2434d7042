"""The catalog in the shapes that model APIs and MCP take tools in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from pydantic_core import from_json, to_json

from .errors import ArgumentsError
from .models import ToolSpec

ModelFormat = Literal["openai", "openai-responses", "anthropic", "mcp"]
FORMATS: tuple[str, ...] = get_args(ModelFormat)

# Model APIs refuse a schema with one of these at its top. The broker still checks them.
_REFUSED_AT_THE_TOP = frozenset({"oneOf", "anyOf", "allOf", "enum", "not"})


def exported(format: str, tools: Mapping[str, ToolSpec]) -> list[dict[str, Any]]:
    """The tools, given by external name, as ``format`` takes them; shares nothing with them.

    ArgumentsError for a format that is not known.
    """
    make = _MAKERS[known_format(format)]
    return [make(name, spec) for name, spec in tools.items()]


def known_format(format: str) -> str:
    """The format itself; ArgumentsError, which says which there are, for any other."""
    if format not in FORMATS:
        raise ArgumentsError(
            f"there is no format {str(format)[:64]!r}; there are: {', '.join(FORMATS)}",
            fields=[("format", "is not known")],
        )
    return format


def _openai(name: str, spec: ToolSpec) -> dict[str, Any]:
    return {"type": "function", "function": {**_about(name, spec), "parameters": _plain(spec)}}


def _openai_responses(name: str, spec: ToolSpec) -> dict[str, Any]:
    # There, strict is true unless told otherwise, and then no argument may be optional.
    return {"type": "function", **_about(name, spec), "parameters": _plain(spec), "strict": False}


def _anthropic(name: str, spec: ToolSpec) -> dict[str, Any]:
    return {**_about(name, spec), "input_schema": _plain(spec)}


def _mcp(name: str, spec: ToolSpec) -> dict[str, Any]:
    tool = _about(name, spec)
    if name != spec.name:
        tool["title"] = spec.name
    tool["inputSchema"] = _object(spec.input_schema)
    output = None if spec.output_schema is None else _resolved(spec.output_schema)
    if output is not None and output.get("type") == "object":
        tool["outputSchema"] = output
    tool["annotations"] = {"readOnlyHint": spec.read_only, "idempotentHint": spec.idempotent}
    if spec.destructive is not None:
        tool["annotations"]["destructiveHint"] = spec.destructive
    return tool


def _about(name: str, spec: ToolSpec) -> dict[str, Any]:
    said = f"Deprecated. {spec.description}".rstrip() if spec.deprecated else spec.description
    return {"name": name, "description": said} if said else {"name": name}


def _plain(spec: ToolSpec) -> dict[str, Any]:
    """The arguments' schema without what model APIs refuse."""
    schema = _object(spec.input_schema)
    return {key: value for key, value in schema.items() if key not in _REFUSED_AT_THE_TOP}


def _object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of arguments, which are an object also where their schema does not say so."""
    found = _resolved(schema)
    shown = {"type": "object", **found}
    shown.setdefault("properties", {})
    return shown


def _resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy, with the definition itself where all of the schema is a reference to one."""
    # JSON has no NaN and no Infinity, which the default of an argument may be.
    copy: dict[str, Any] = from_json(to_json(dict(schema), inf_nan_mode="null", fallback=str))
    place, definitions = copy.get("$ref"), copy.get("$defs")
    if isinstance(place, str) and isinstance(definitions, dict):
        named = definitions.get(place.removeprefix("#/$defs/"))
        if isinstance(named, dict):
            del copy["$ref"]
            return {**named, **copy}
    return copy


_MAKERS: Mapping[str, Callable[[str, ToolSpec], dict[str, Any]]] = MappingProxyType(
    {
        "openai": _openai,
        "openai-responses": _openai_responses,
        "anthropic": _anthropic,
        "mcp": _mcp,
    }
)
