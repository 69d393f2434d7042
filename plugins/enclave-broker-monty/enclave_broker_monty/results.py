"""The value of a run's last expression, as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue
from pydantic_monty import MontyClassProxy

from enclave_broker_core.errors import ResultTooLargeError, RunError
from enclave_broker_core.json_form import MAX_DEPTH, NotJsonError, TooLargeError, json_text, parse


def json_result(value: Any, max_bytes: int) -> JsonValue:
    """The JSON form of what the sandbox gave; RunError, ResultTooLargeError.

    Dates, sets, bytes and so on have their JSON form as everywhere in the broker, and an
    instance of one of the code's own classes is the object of its attributes. Functions,
    classes, modules, ranges and iterators leave the sandbox as their ``repr``.
    """
    try:
        try:
            text = json_text(value, max_bytes)
        except NotJsonError:
            # Rare, and a walk through the whole value: so only when it is needed.
            text = json_text(_with_attributes(value, 0), max_bytes)
        result: JsonValue = parse(text)
    except TooLargeError as problem:
        raise ResultTooLargeError(f"the result of the run is too large: {problem}") from None
    except NotJsonError as problem:
        raise RunError(f"the result of the run is no JSON: {problem}") from None
    return result


def _with_attributes(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, MontyClassProxy):
        return _with_attributes(value.attributes, depth + 1)
    if isinstance(value, dict):
        return {key: _with_attributes(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_attributes(item, depth + 1) for item in value]
    return value
