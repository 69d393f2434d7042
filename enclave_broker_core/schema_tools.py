"""A tool that is declared by a JSON Schema instead of type hints."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from typing import Any

from pydantic import JsonValue

from .contracts import ToolContext
from .errors import ArgumentsError, ConfigError
from .functions import MAX_REPORTED_FIELDS
from .json_form import NotJsonError, parse
from .models import ToolSpec
from .threads import Threads


class SchemaTool:
    """A handler that takes all its arguments as one dict, checked by a JSON Schema.

    The handler may also have a parameter annotated with ToolContext. The check is
    jsonschema-rs's, whose regular expressions can't be made slow by an argument and which
    fetches nothing; without it (the extra ``jsonschema``) a declaration is a ConfigError.
    """

    def __init__(
        self,
        spec: ToolSpec,
        handler: Callable[..., Any],
        threads: Threads,
        *,
        pattern_bytes: int | None = None,
    ) -> None:
        # Arguments are always an object; who reads the schema is to know.
        self.spec = spec.model_copy(
            update={"input_schema": {"type": "object", **spec.input_schema}}
        )
        self._handler = handler
        self._threads = threads
        self._context = _context_parameter(handler)
        self._is_async = inspect.iscoroutinefunction(handler)
        self._check = schema_check(spec.name, self.spec.input_schema, pattern_bytes=pattern_bytes)

    def validate(self, arguments_json: bytes) -> dict[str, Any]:
        return checked_arguments(self.spec.name, arguments_json, self._check)

    def dump(self, arguments: Any) -> Mapping[str, JsonValue]:
        dumped: Mapping[str, JsonValue] = deepcopy(arguments)
        return dumped

    def invoke(self, arguments: Any, context: ToolContext) -> Awaitable[Any]:
        keywords = {} if self._context is None else {self._context: context}
        if self._is_async:
            answer: Awaitable[Any] = self._handler(arguments, **keywords)
            return answer
        return self._threads.run(lambda: self._handler(arguments, **keywords), {})


def _context_parameter(handler: Callable[..., Any]) -> str | None:
    for parameter in inspect.signature(handler, eval_str=True).parameters.values():
        if parameter.annotation is ToolContext:
            return parameter.name
    return None


Check = Callable[[Any], list[tuple[str, str]]]
"""Says which fields of a value are wrong, and why."""


def checked_arguments(name: str, arguments_json: bytes, check: Check) -> dict[str, Any]:
    """The arguments of the tool ``name``; ArgumentsError names each wrong field, and no value."""
    try:
        arguments = parse(arguments_json)
    except NotJsonError as problem:
        raise ArgumentsError(f"the arguments of {name}: {problem}") from None
    fields = check(arguments)
    if fields:
        said = "; ".join(f"{field}: {reason}" if field else reason for field, reason in fields)
        raise ArgumentsError(f"the arguments of {name} are wrong: {said}", fields=fields)
    checked: dict[str, Any] = arguments
    return checked


def schema_check(name: str, schema: dict[str, Any], *, pattern_bytes: int | None = None) -> Check:
    """A function that says which fields of a value are wrong, and why, without the value.

    ``pattern_bytes`` is how large each compiled pattern may be: for schemas of others.
    """
    try:
        import jsonschema_rs
    except ImportError:
        raise ConfigError(
            f"tool {name!r} is declared by a JSON Schema, and checking one needs jsonschema-rs:"
            " pip install jsonschema-rs"
        ) from None
    try:
        validator = jsonschema_rs.validator_for(
            schema,
            mask="the value",
            pattern_options=jsonschema_rs.RegexOptions(size_limit=pattern_bytes),
            offline=True,
        )
    except (ValueError, jsonschema_rs.ReferencingError) as problem:
        raise ConfigError(f"tool {name!r}: not a usable JSON Schema: {problem}") from None

    def check(arguments: Any) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for problem in validator.iter_errors(arguments):
            found.append((".".join(str(part) for part in problem.instance_path), problem.message))
            if len(found) == MAX_REPORTED_FIELDS:
                break
        return found

    return check
