"""What is asked for a new session, checked and put together as a store keeps it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import JsonValue, ValidationError

from .errors import ArgumentsError, ConfigError
from .functions import arguments_error
from .json_form import NotJsonError, TooLargeError, json_text
from .models import ClientTool, Principal, SessionLimits, SessionRecord, SessionState
from .patterns import Pattern

MOST_METADATA_BYTES = 64 * 1024


def new_record(
    *,
    user_id: str | None,
    principal: Principal | None,
    metadata: Mapping[str, JsonValue] | None,
    allowed_tools: Sequence[str] | None,
    limits: SessionLimits,
    session_id: str | None,
    runtime: str | None,
    client_tools: Sequence[ClientTool],
    durable: bool,
    single_limits: Mapping[str, Any],
) -> SessionRecord:
    """The record of a session that begins now; ArgumentsError for what can't be asked for."""
    if user_id is not None and principal is not None and principal.id != user_id:
        raise ArgumentsError("user_id and principal name two different callers")
    now = time.time()
    try:
        if user_id is not None and principal is None:
            principal = Principal(id=user_id)
        chosen = replace(limits, **single_limits) if single_limits else limits
        record = SessionRecord(
            id=f"s_{secrets.token_hex(16)}" if session_id is None else session_id,
            state=SessionState.RUNNING,
            created_at=now,
            expires_at=now + chosen.timeout,
            principal=principal,
            allowed_tools=None if allowed_tools is None else tuple(allowed_tools),
            limits=chosen,
            metadata=metadata or {},
            runtime=runtime,
            client_tools=tuple(client_tools),
            durable=durable,
        )
        if record.metadata:
            json_text(record.metadata, MOST_METADATA_BYTES)
        for text in allowed_tools or ():
            Pattern(text)
    except ValidationError as problem:
        raise arguments_error("the session", problem) from None
    except (NotJsonError, TooLargeError) as problem:
        raise ArgumentsError(f"the session's metadata: {problem}") from None
    except ConfigError as problem:
        raise ArgumentsError(f"the session's allowed_tools: {problem.message}") from None
    return record
