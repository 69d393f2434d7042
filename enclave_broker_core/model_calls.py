"""Tool calls as model APIs and MCP make them, and the messages that answer them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from pydantic import BaseModel
from pydantic_core import to_json

from .errors import ArgumentsError, BrokerError, SessionError
from .export import known_format
from .json_form import NotJsonError, parse

LONGEST_ID = 128

SHAPES = (
    'openai {"id", "type": "function", "function": {"name", "arguments"}}; '
    'openai-responses {"type": "function_call", "call_id", "name", "arguments"}; '
    'anthropic {"type": "tool_use", "id", "name", "input"}; '
    'mcp {"name", "arguments"?} or {"method": "tools/call", "params": {"name", "arguments"?}}'
)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A model API's tool call. ``arguments`` is JSON text or what should be an object."""

    format: str
    id: str | None
    name: str
    arguments: Any


class Execute(Protocol):
    """``Session.call``."""

    def __call__(
        self, name: str, args: Mapping[str, Any] | None = None, *, call_id: str | None = None
    ) -> Awaitable[Any]: ...


async def answered(call: ModelCall, execute: Execute, max_argument_bytes: int) -> dict[str, Any]:
    """Make the call; its result, or what went wrong with it, as the API takes it back.

    Raises SessionError: no answer to a model helps when the session is over.
    """
    arguments = _arguments(call.arguments, max_argument_bytes)
    try:
        result = await execute(call.name, arguments, call_id=call.id)
    except SessionError:
        raise
    except BrokerError as error:
        return _message(call, _text({"error": error.to_wire()}), failed=True)
    message = _message(call, _text(result), failed=False)
    if call.format == "mcp" and isinstance(result, dict):
        message["structuredContent"] = result
    return message


def model_call(call: Any, format: str | None = None) -> ModelCall:
    """The call, of ``format`` or of whichever it has the shape of.

    Takes a mapping, or the pydantic model that an API's own client makes of it.
    ArgumentsError when it has no known shape.
    """
    if format is not None:
        known_format(format)
    if isinstance(call, BaseModel):
        call = call.model_dump(mode="python", by_alias=True, warnings=False)
    if isinstance(call, Mapping):
        for name, read in _READERS.items():
            found = read(call) if format in (None, name) else None
            if found is not None:
                return found
    wanted = "no tool call of a known shape" if format is None else f"no tool call of {format}"
    raise ArgumentsError(f"this is {wanted}; known are: {SHAPES}")


def _openai(call: Mapping[str, Any]) -> ModelCall | None:
    function = call.get("function")
    if call.get("type") != "function" or not isinstance(function, Mapping):
        return None
    return _made("openai", call.get("id"), function.get("name"), function.get("arguments"))


def _openai_responses(call: Mapping[str, Any]) -> ModelCall | None:
    if call.get("type") != "function_call":
        return None
    return _made("openai-responses", call.get("call_id"), call.get("name"), call.get("arguments"))


def _anthropic(call: Mapping[str, Any]) -> ModelCall | None:
    if call.get("type") != "tool_use":
        return None
    return _made("anthropic", call.get("id"), call.get("name"), call.get("input"))


def _mcp(call: Mapping[str, Any]) -> ModelCall | None:
    params: Any = call
    if "method" in call:
        params = call.get("params") if call["method"] == "tools/call" else None
    if not isinstance(params, Mapping) or "type" in call or not isinstance(params.get("name"), str):
        return None
    return ModelCall("mcp", None, params["name"], params.get("arguments"))


_READERS: Mapping[str, Callable[[Mapping[str, Any]], ModelCall | None]] = MappingProxyType(
    {
        "openai": _openai,
        "openai-responses": _openai_responses,
        "anthropic": _anthropic,
        "mcp": _mcp,
    }
)


def _made(format: str, call_id: Any, name: Any, arguments: Any) -> ModelCall | None:
    """None when the API can't have made it: without an id nothing can be answered."""
    if not isinstance(name, str) or not isinstance(call_id, str):
        return None
    if not 0 < len(call_id) <= LONGEST_ID or not call_id.isprintable():
        return None
    return ModelCall(format, call_id, name, arguments)


def _arguments(given: Any, max_bytes: int) -> Mapping[str, Any]:
    """What a model wrote, read; an Unreadable when it is no object."""
    if isinstance(given, str):
        if len(given) > max_bytes:
            return Unreadable(f"larger than {max_bytes} bytes")
        if not given.strip():
            return {}  # what some models write when there are none
        try:
            given = parse(given)
        except NotJsonError as problem:
            return Unreadable(str(problem))
    if given is None:
        return {}
    return given if isinstance(given, Mapping) else Unreadable("they must be an object, by name")


class Unreadable(Mapping[str, Any]):
    """Arguments that can't be read, and why.

    They are passed on as they are, so that the attempt counts, is recorded and is refused
    in the way of every other.
    """

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise NotJsonError(self._problem)

    def __getitem__(self, key: str) -> Any:
        raise NotJsonError(self._problem)


def _text(result: Any) -> str:
    """A text as it is, all else as JSON."""
    return result if isinstance(result, str) else to_json(result).decode()


def _message(call: ModelCall, text: str, *, failed: bool) -> dict[str, Any]:
    if call.format == "openai":
        return {"role": "tool", "tool_call_id": call.id, "content": text}
    if call.format == "openai-responses":
        return {"type": "function_call_output", "call_id": call.id, "output": text}
    if call.format == "anthropic":
        message = {"type": "tool_result", "tool_use_id": call.id, "content": text}
        return {**message, "is_error": True} if failed else message
    return {"content": [{"type": "text", "text": text}], "isError": failed}
