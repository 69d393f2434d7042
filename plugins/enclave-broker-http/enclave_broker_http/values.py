"""JSON values as texts: in URLs, in headers, in forms."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from enclave_broker_core.errors import ArgumentsError

EXACT = 2.0**53


def text_of(value: Any, argument: str) -> str:
    """A single JSON value as text; ArgumentsError for a list, an object and for null."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        reason = "it must be a single value here"
        raise ArgumentsError(f"the argument {argument}: {reason}", fields=[(argument, reason)])
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        # To JSON Schema it is an integer; many services take 5.0 for none.
        value = int(value)
    return to_json(value).decode()
