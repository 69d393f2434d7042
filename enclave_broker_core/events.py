"""The wire events, protocol version 2: how they are written and read back.

An event holds its payload as JSON text, written once where it happens. Each kind has a
function that writes it, so a payload can't have a wrong shape; optional keys are left
out, never null. What JSON can't hold is refused before it comes here (``json_form``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from .errors import BrokerError
from .models import RunStats

PROTOCOL_VERSION = 2

Level = Literal["debug", "info", "warn", "error"]
Phase = Literal["connecting", "sending", "receiving", "processing"]


class Draft:
    """What happened, before it has its place in a session's log."""

    __slots__ = ("payload_json", "type")

    def __init__(self, type: str, payload_json: bytes) -> None:
        self.type = type
        self.payload_json = payload_json


class Event:
    """One event of a session's log. ``seq`` starts at 1 and has no gaps. Immutable by custom."""

    __slots__ = ("payload_json", "seq", "session_id", "type")

    def __init__(self, session_id: str, seq: int, type: str, payload_json: bytes) -> None:
        self.session_id = session_id
        self.seq = seq
        self.type = type
        self.payload_json = payload_json

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = from_json(self.payload_json)
        return payload

    def to_json(self) -> bytes:
        """The event as one line of NDJSON, without the newline."""
        return b'{"protocolVersion":2,"sessionId":"%b","seq":%d,"type":"%b","payload":%b}' % (
            self.session_id.encode(),
            self.seq,
            self.type.encode(),
            self.payload_json,
        )

    @classmethod
    def from_json(cls, line: bytes | str) -> Event:
        """An event as ``to_json`` wrote it; ValueError for anything else."""
        wire = from_json(line, allow_inf_nan=False)
        if not isinstance(wire, dict) or wire.get("protocolVersion") != PROTOCOL_VERSION:
            raise ValueError("not an event of protocol version 2")
        try:
            payload = to_json(wire["payload"])
            return cls(str(wire["sessionId"]), int(wire["seq"]), str(wire["type"]), payload)
        except KeyError as missing:
            raise ValueError(f"the event has no {missing.args[0]!r}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.session_id, self.seq))

    def __repr__(self) -> str:
        return f"Event({self.seq}, {self.type}, {self.payload_json.decode()})"


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as ``2026-01-31T12:00:00.000Z``."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def session_init(session_id: str, expires_at: float) -> Draft:
    base = f"/sessions/{session_id}"
    return _draft(
        "session_init",
        cancelUrl=f"{base}/cancel",
        expiresAt=timestamp(expires_at),
        encryption={"enabled": False},
        replayUrl=f"{base}/stream",
    )


def stdout(chunk: str) -> Draft:
    return _draft("stdout", chunk=chunk)


def log(level: Level, message: str, data: dict[str, JsonValue] | None = None) -> Draft:
    return _draft("log", level=level, message=message, data=data)


def tool_call(call_id: str, name_json: bytes, arguments_json: bytes) -> Draft:
    """``name_json`` and ``arguments_json`` are JSON text already: this one is on the hot path."""
    return Draft(
        "tool_call",
        b'{"callId":"%b","toolName":%b,"args":%b}' % (call_id.encode(), name_json, arguments_json),
    )


def tool_progress(
    call_id: str,
    phase: Phase,
    elapsed: float,
    bytes_received: int | None = None,
    total_bytes: int | None = None,
) -> Draft:
    return _draft(
        "tool_progress",
        callId=call_id,
        phase=phase,
        elapsedMs=milliseconds(elapsed),
        bytesReceived=bytes_received,
        totalBytes=total_bytes,
    )


def tool_succeeded(call_id: str, duration: float) -> Draft:
    return Draft(
        "tool_result_applied",
        b'{"callId":"%b","ok":true,"durationMs":%d}' % (call_id.encode(), duration * 1000),
    )


def tool_failed(call_id: str, duration: float, code: str, message: str) -> Draft:
    return _draft(
        "tool_result_applied",
        callId=call_id,
        ok=False,
        durationMs=milliseconds(duration),
        code=code,
        message=message,
    )


def partial_result(path: Sequence[str], data_json: bytes, *, has_next: bool) -> Draft:
    return Draft(
        "partial_result",
        b'{"path":%b,"data":%b,"hasNext":%b}'
        % (to_json(list(path)), data_json, b"true" if has_next else b"false"),
    )


def partial_error(path: Sequence[str], failure: BrokerError) -> Draft:
    return _draft("partial_result", path=list(path), error=_error(failure), hasNext=False)


def error(message: str, code: str | None = None, recoverable: bool | None = None) -> Draft:
    return _draft("error", message=message, code=code, recoverable=recoverable)


def deadline_exceeded(elapsed: float, budget: float) -> Draft:
    return _draft(
        "deadline_exceeded", elapsedMs=milliseconds(elapsed), budgetMs=max(1, milliseconds(budget))
    )


def catalog_changed(version: str, added: Sequence[str], removed: Sequence[str]) -> Draft:
    return _draft(
        "catalog_changed", version=version, addedActions=list(added), removedActions=list(removed)
    )


def heartbeat(session_id: str, seq: int, now: float) -> Event:
    """A sign of life of one stream: not in the log, and with the seq of the last event sent."""
    return Event(session_id, seq, "heartbeat", to_json({"ts": milliseconds(now)}))


def final_ok(result_json: bytes | None, stats: RunStats) -> Draft:
    result = b"" if result_json is None else b',"result":%b' % result_json
    return Draft("final", b'{"ok":true%b,"stats":%b}' % (result, to_json(_stats(stats))))


def final_error(failure: BrokerError, stats: RunStats) -> Draft:
    items: dict[str, Any] = {"error": _error(failure), "stats": _stats(stats)}
    if failure.details:
        items["errors"] = [failure.to_wire()]
    return _draft("final", ok=False, **items)


def _error(failure: BrokerError) -> dict[str, Any]:
    return {"message": failure.message, "code": failure.code}


def _stats(stats: RunStats) -> dict[str, int]:
    return {
        "durationMs": milliseconds(stats.duration),
        "toolCallCount": stats.tool_calls,
        "stdoutBytes": stats.stdout_bytes,
    }


def _draft(type: str, **payload: Any) -> Draft:
    present = {key: value for key, value in payload.items() if value is not None}
    return Draft(type, to_json(present, inf_nan_mode="null"))
