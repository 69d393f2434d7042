"""The audit log: who called which tool, what was decided, and how it ended."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import to_json

from .contracts import Component, EventSink, OpenContext
from .errors import ConfigError
from .events import timestamp
from .models import Frozen, Principal
from .observations import CallFinished, Observation, SessionStarted

_FILE_HAS_PATH: Mapping[str, Any] = {
    "if": {"properties": {"to": {"const": "file"}}},
    "then": {"required": ["path"]},
}


class AuditConfig(Frozen, json_schema_extra=dict(_FILE_HAS_PATH)):
    """The audit log: a JSON line for each call."""

    to: Literal["stdout", "file"] = "file"
    """Standard output, or a file."""
    path: Path | None = Field(default=None)
    """The file, which is only ever appended to."""
    sync: bool = False
    """Whether each line is on the disk before the caller gets its answer."""

    @model_validator(mode="after")
    def _has_path(self) -> Self:
        if self.to == "file" and self.path is None:
            raise ValueError('to = "file" needs a path')
        return self


class AuditLog:
    """Writes one JSON line for each call and for each session's start and end.

    Arguments appear as their digest only. A line that can't be written is raised.
    """

    def __init__(self, stream: BinaryIO, *, sync: bool = False) -> None:
        self._stream = stream
        self._sync = sync

    async def observe(self, observation: Observation) -> None:
        self._stream.write(to_json(audit_line(observation)) + b"\n")
        self._stream.flush()
        if self._sync:
            os.fsync(self._stream.fileno())


def audit_line(observation: Observation) -> dict[str, Any]:
    """What is written of an observation."""
    if isinstance(observation, CallFinished):
        call, decision = observation.call, observation.decision
        return _present(
            at=timestamp(call.ended_at),
            event="call",
            session=observation.session_id,
            call=call.call_id,
            tool=call.tool,
            **_who(observation.principal),
            decision=None if decision is None else decision.verdict.value,
            rule=None if decision is None else decision.rule,
            outcome=call.outcome,
            code=call.error_code,
            durationMs=round((call.ended_at - call.started_at) * 1000),
            argumentsSha256=observation.digest,
        )
    record = observation.record
    if isinstance(observation, SessionStarted):
        return _present(
            at=timestamp(record.created_at),
            event="session_started",
            session=record.id,
            **_who(record.principal),
        )
    return _present(
        at=timestamp(record.ended_at or record.created_at),
        event="session_ended",
        session=record.id,
        **_who(record.principal),
        state=record.state.value,
        code=observation.error_code,
        toolCalls=record.tool_calls,
    )


def _who(principal: Principal | None) -> dict[str, Any]:
    if principal is None:
        return {}
    return {"principal": principal.id, "tenant": principal.tenant}


def _present(**items: Any) -> dict[str, Any]:
    return {key: value for key, value in items.items() if value is not None}


@asynccontextmanager
async def open_audit(config: AuditConfig, context: OpenContext) -> AsyncIterator[EventSink]:
    """The audit log of a configuration. ConfigError when its file can't be opened."""
    if config.to == "stdout":
        yield AuditLog(sys.stdout.buffer, sync=False)
        return
    if config.path is None:
        raise ConfigError('audit: to = "file" needs a path')
    path = Path(context.base_dir) / config.path
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as problem:
        raise ConfigError(f"audit: {path} can't be opened: {problem.strerror}") from problem
    with os.fdopen(descriptor, "ab") as stream:
        yield AuditLog(stream, sync=config.sync)


AUDIT = Component("audit", open_audit, AuditConfig)
