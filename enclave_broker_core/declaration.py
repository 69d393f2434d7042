"""From a handler and its options to a tool, or to the route of a pattern."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

from pydantic import ValidationError

from .contracts import Tool
from .errors import ConfigError
from .functions import FunctionTool
from .limits import RateLike
from .models import ToolSpec
from .patterns import Pattern, is_exact
from .routing import Route, RouteTool
from .schema_tools import SchemaTool
from .threads import Threads


class ToolOptions(TypedDict, total=False):
    """What can be said of a tool besides its name and handler.

    ``timeout`` is in seconds. ``model`` is one class for all arguments; ``schema`` a JSON
    Schema instead of type hints, whose handler takes one dict. ``secrets`` are names.
    """

    description: str
    model: Any
    schema: Mapping[str, Any]
    output_schema: Mapping[str, Any]
    timeout: float
    rate_limit: RateLike
    requires_auth: bool
    secrets: Iterable[str]
    tags: Iterable[str]
    deprecated: bool
    read_only: bool
    idempotent: bool
    destructive: bool


def declare(
    name: str, handler: Callable[..., Any], threads: Threads, options: ToolOptions
) -> Tool | Route:
    """A Tool for an exact name, a Route for a pattern. ConfigError says what is wrong."""
    if not callable(handler):
        raise ConfigError(f"the handler of {name!r} is {handler!r}, which can't be called")
    given: dict[str, Any] = dict(options)
    model, schema = given.pop("model", None), given.pop("schema", None)
    for key, kind in (("secrets", tuple), ("tags", frozenset)):
        if isinstance(given.get(key), str):
            raise ConfigError(f"{name!r}: {key} is a list of names, not one text")
        if key in given:
            given[key] = kind(given[key])
    try:
        if not is_exact(name):
            spec = ToolSpec(name=name, **{"input_schema": schema or {"type": "object"}, **given})
            return Route(Pattern(name), RouteTool(spec, handler, threads))
        if schema is not None:
            return SchemaTool(ToolSpec(name=name, input_schema=schema, **given), handler, threads)
        return FunctionTool(name, handler, threads, model=model, **given)
    except ValidationError as problem:
        said = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in problem.errors(include_url=False, include_input=False)
        )
        raise ConfigError(f"tool {name!r}: {said}") from None
