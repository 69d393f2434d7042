"""JSON values as texts: in URLs, in headers, in forms."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from enclave_broker_core.errors import ArgumentsError


def text_of(value: Any, argument: str) -> str:
    """A single JSON value as text; ArgumentsError for a list, an object and for null."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        reason = "it must be a single value here"
        raise ArgumentsError(f"the argument {argument}: {reason}", fields=[(argument, reason)])
    return to_json(value).decode()
