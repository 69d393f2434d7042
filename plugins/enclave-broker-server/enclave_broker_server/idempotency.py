"""Idempotency keys over HTTP: the same key and body get the first answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_core import to_json
from starlette.types import ASGIApp

from enclave_broker_core.errors import REFUSALS
from enclave_broker_core.session_handle import SessionHandle

from .answers import Answer, HttpError

LONGEST_KEY = 255

# Refusals before the tool has run: the same request may be let through later.
NOT_RUN = frozenset(kind.code for kind in REFUSALS)


def require_key(sent: bytes) -> str:
    """The key that a header has; HttpError 400 for what is none."""
    key = sent.decode("latin-1").strip()
    if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise HttpError(400, f"an Idempotency-Key is 1 to {LONGEST_KEY} characters of ASCII")
    return key


async def once(
    session: SessionHandle,
    key: str,
    given: Any,
    window: float,
    act: Callable[[SessionHandle, Any], Awaitable[dict[str, Any]]],
) -> ASGIApp:
    """Make the call, or answer as it was answered before."""

    async def made() -> tuple[bytes, bool]:
        answer = await act(session, given)
        error = answer.get("error") or {}
        return to_json(answer), error.get("code") not in NOT_RUN

    request = json.dumps(given, sort_keys=True).encode()
    text, replayed = await session.claims().once(f"call:{key}", request, made, seconds=window)
    headers = [(b"idempotency-replayed", b"true")] if replayed else []
    return Answer(text, headers=headers)
