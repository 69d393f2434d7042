"""Answers that say in the protocol's own words what went wrong below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
from pydantic_core import from_json, to_json


def failure(
    status: int, code: int, message: str, data: Mapping[str, Any] | None = None
) -> httpx2.Response:
    """An answer with an error of the protocol: it is that of the request, whose id it has not."""
    error = {"code": code, "message": message} | ({"data": data} if data else {})
    body = to_json({"jsonrpc": "2.0", "id": None, "error": error})
    return httpx2.Response(status, headers={"content-type": "application/json"}, content=body)


def is_error(body: bytes) -> bool:
    """Whether an answer of a status that is no success is the protocol's own error."""
    try:
        said = from_json(body)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("jsonrpc") == "2.0" and "error" in said
