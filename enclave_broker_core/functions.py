"""A Python function as a tool: its schema from its type hints, its call from its arguments."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
)
from typing import Annotated, Any

from pydantic import ConfigDict, Field, JsonValue, PydanticUserError, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_json, to_jsonable_python

from .contracts import ToolContext
from .docstrings import describe
from .errors import ArgumentsError, ConfigError
from .json_form import NotJsonError, TooLargeError, json_text
from .models import ToolSpec
from .threads import Threads

Handler = Callable[..., Any]

MAX_REPORTED_FIELDS = 20

_STREAMS = (AsyncGenerator, AsyncIterator, AsyncIterable)


class FunctionTool:
    """A tool that is a Python function, a coroutine function or an async generator function.

    Plain functions run in a worker thread. Of an async generator, each item is shown as
    a partial result and the list of all is the result. ConfigError when the function has
    parameters that can't be given by name or hints that no schema can be made from.
    """

    def __init__(
        self,
        name: str,
        handler: Handler,
        threads: Threads,
        *,
        model: Any = None,
        description: str | None = None,
        **options: Any,
    ) -> None:
        self._handler = handler
        self._threads = threads
        self._whole = model is not None
        function = _function_of(handler)
        about, texts = describe(function)
        if not about and not isinstance(handler, functools.partial):
            about, _ = describe(handler)
        hints = _hints(name, function)
        parameters, self._context_names = _split(name, handler, hints, takes_model=self._whole)
        if self._whole:
            self._model_parameter = _only(name, parameters)
            source: Any = model
        else:
            source = _arguments_class(name, parameters, hints, texts)
        rest = None if self._whole else _rest_hint(parameters, hints)
        self._rest: TypeAdapter[Any] | None = None
        try:
            self._adapter = TypeAdapter[Any](source)
            schema = self._adapter.json_schema(schema_generator=_Schema)
            if rest is not None:
                self._rest = TypeAdapter(dict[str, rest])  # type: ignore[valid-type]
                schema |= _rest_schema(self._rest, schema)
        except PydanticUserError as problem:
            raise ConfigError(f"tool {name!r}: no schema from its type hints: {problem}") from None
        if schema.get("type") != "object" and "$ref" not in schema and "properties" not in schema:
            raise ConfigError(f"tool {name!r}: the arguments must be a JSON object")
        if not self._whole:
            schema.pop("title", None)
        self._validate_json = self._validate_all if rest else self._adapter.validator.validate_json
        self._streams = inspect.isasyncgenfunction(function)
        self._is_async = inspect.iscoroutinefunction(function)
        self._is_plain = self._is_async and not self._whole and not self._context_names
        if inspect.isgeneratorfunction(function):
            raise ConfigError(
                f"tool {name!r}: a plain generator can't be a handler; make it 'async def'"
            )
        self.spec = ToolSpec(
            name=name,
            description=about if description is None else description,
            input_schema=schema,
            output_schema=_output_schema(hints.get("return", Any), streams=self._streams),
            **options,
        )

    def validate(self, arguments_json: bytes) -> Any:
        try:
            return self._validate_json(arguments_json)
        except ValidationError as problem:
            raise arguments_error(self.spec.name, problem) from None

    def _validate_all(self, arguments_json: bytes) -> Any:
        """With the hint of ``**arguments`` too."""
        arguments = self._adapter.validator.validate_json(arguments_json)
        if self._rest is not None:
            rest = self._rest.validate_json(to_json(_extras(arguments)))
            arguments.__dict__.update(rest)
        return arguments

    def dump(self, arguments: Any) -> Mapping[str, JsonValue]:
        dumped: dict[str, JsonValue] = self._adapter.dump_python(
            arguments, mode="json", by_alias=True
        )
        # Pydantic leaves these out; a policy must see all that the handler gets.
        dumped |= to_jsonable_python(_extras(arguments))
        return dumped

    def invoke(self, arguments: Any, context: ToolContext) -> Awaitable[Any]:
        if self._is_plain:
            plain: Awaitable[Any] = self._handler(**arguments.__dict__)
            return plain
        keywords = {self._model_parameter: arguments} if self._whole else arguments.__dict__
        if self._context_names:
            keywords = {**keywords, **dict.fromkeys(self._context_names, context)}
        if self._is_async:
            answer: Awaitable[Any] = self._handler(**keywords)
            return answer
        if self._streams:
            return _collect(self._handler(**keywords), context)
        return self._threads.run(self._handler, keywords)


async def _collect(items: AsyncGenerator[Any, None], context: ToolContext) -> list[Any]:
    collected = []
    try:
        async for item in items:
            await context.partial(item)
            collected.append(item)
    finally:
        await items.aclose()
    return collected


def arguments_text(name: str, arguments: Any, max_bytes: int) -> bytes:
    """A caller's arguments as JSON text; ArgumentsError for what can't be any."""
    if type(arguments) is not dict and not isinstance(arguments, Mapping):
        raise ArgumentsError(f"the arguments of {name} must be an object, by name")
    try:
        return json_text(arguments, max_bytes)
    except TooLargeError as problem:
        raise ArgumentsError(f"the arguments of {name} are too large: {problem}") from None
    except NotJsonError as problem:
        raise ArgumentsError(f"the arguments of {name}: {problem}") from None


def arguments_error(name: str, problem: ValidationError) -> ArgumentsError:
    """A validation error as the caller sees it: each wrong field and why, never its value."""
    fields = [
        (".".join(str(part) for part in item["loc"]), item["msg"])
        for item in problem.errors(include_url=False, include_input=False, include_context=False)
    ]
    said = "; ".join(
        f"{field}: {reason}" if field else reason for field, reason in fields[:MAX_REPORTED_FIELDS]
    )
    more = len(fields) - MAX_REPORTED_FIELDS
    return ArgumentsError(
        f"the arguments of {name} are wrong: {said}{f'; and {more} more' if more > 0 else ''}",
        fields=fields[:MAX_REPORTED_FIELDS],
    )


def _function_of(handler: Handler) -> Callable[..., Any]:
    """What really runs: of a partial its function, of an object its ``__call__``."""
    inner: Any = handler
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    if inspect.isroutine(inner):
        return typing.cast("Callable[..., Any]", inner)
    call: Callable[..., Any] = type(inner).__call__ if not inspect.isclass(inner) else inner
    return call


def _hints(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as problem:
        raise ConfigError(f"tool {name!r}: its type hints can't be read: {problem}") from None


def _split(
    name: str, handler: Handler, hints: dict[str, Any], *, takes_model: bool
) -> tuple[list[inspect.Parameter], list[str]]:
    """The parameters that callers give, and the names of those that get the context."""
    try:
        signature = inspect.signature(handler)
    except (ValueError, TypeError) as problem:
        raise ConfigError(f"tool {name!r}: its signature can't be read: {problem}") from None
    given: list[inspect.Parameter] = []
    contexts: list[str] = []
    bound = handler.keywords.keys() if isinstance(handler, functools.partial) else ()
    for parameter in signature.parameters.values():
        if parameter.name in bound:
            continue  # the program has given it, and callers can't
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise ConfigError(
                f"tool {name!r}: parameter {parameter.name!r} can't be given by name,"
                " and callers give arguments by name"
            )
        if hints.get(parameter.name) is ToolContext:
            contexts.append(parameter.name)
        else:
            given.append(parameter)
    if takes_model and any(p.kind is p.VAR_KEYWORD for p in given):
        raise ConfigError(f"tool {name!r}: a handler with a model takes the model, not **arguments")
    return given, contexts


def _only(name: str, parameters: list[inspect.Parameter]) -> str:
    if len(parameters) != 1:
        raise ConfigError(
            f"tool {name!r}: a handler with a model takes one argument, the model;"
            f" this one takes {len(parameters)}"
        )
    return parameters[0].name


def _arguments_class(
    name: str,
    parameters: list[inspect.Parameter],
    hints: dict[str, Any],
    texts: dict[str, str],
) -> type:
    """A dataclass of the parameters: unlike a model it lets a field have any name."""
    fields: list[tuple[str, Any, Any]] = []
    extra: typing.Literal["allow", "forbid"] = "forbid"
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
            continue
        hint = hints.get(parameter.name, Any)
        if parameter.name in texts:
            hint = Annotated[hint, Field(description=texts[parameter.name])]
        # By pydantic's own field, which copies a mutable default for each call.
        empty = parameter.default is inspect.Parameter.empty
        fields.append((parameter.name, hint, Field() if empty else Field(parameter.default)))
    try:
        plain = dataclasses.make_dataclass("Arguments", fields, kw_only=True, repr=False, eq=False)
        config = ConfigDict(extra=extra, arbitrary_types_allowed=False)
        return pydantic_dataclass(plain, config=config)
    except (PydanticUserError, TypeError, ValueError) as problem:
        raise ConfigError(f"tool {name!r}: no schema from its type hints: {problem}") from None


class _Schema(GenerateJsonSchema):
    """A default that JSON can't hold is left out of the schema, without a warning."""

    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012


def _rest_hint(parameters: list[inspect.Parameter], hints: dict[str, Any]) -> Any:
    """The hint of ``**arguments``; None when there is none, or one that says nothing."""
    for parameter in parameters:
        hint = hints.get(parameter.name, Any)
        unpacked = typing.get_origin(hint) is typing.Unpack
        if parameter.kind is parameter.VAR_KEYWORD and hint is not Any and not unpacked:
            return hint
    return None


def _rest_schema(rest: TypeAdapter[Any], schema: dict[str, Any]) -> dict[str, Any]:
    more = rest.json_schema(schema_generator=_Schema)
    definitions = schema.get("$defs", {}) | more.get("$defs", {})
    found = {"additionalProperties": more.get("additionalProperties", True)}
    return found | ({"$defs": definitions} if definitions else {})


def _extras(arguments: Any) -> dict[str, Any]:
    """What a dataclass of arguments holds besides its fields."""
    if not dataclasses.is_dataclass(arguments):
        return {}
    names = {field.name for field in dataclasses.fields(arguments)}
    held: dict[str, Any] = getattr(arguments, "__dict__", {})
    return {name: value for name, value in held.items() if name not in names}


def _output_schema(returned: Any, *, streams: bool) -> dict[str, Any] | None:
    if streams and typing.get_origin(returned) in _STREAMS:
        returned = list[typing.get_args(returned)[0]]  # type: ignore[misc]
    if returned is Any:
        return None
    try:
        adapter = TypeAdapter(returned)
        return adapter.json_schema(mode="serialization", schema_generator=_Schema)
    except (PydanticUserError, NameError, TypeError):
        # A hint for people that no schema can be made from is no reason to refuse a tool.
        return None
