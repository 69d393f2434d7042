"""The wire events, protocol version 2: how they are written and read back.

An event holds its payload as JSON text, written once where it happens. Each kind has a
function that writes it, so a payload can't have a wrong shape; optional keys are left
out, never null. What JSON can't hold is refused before it comes here (``json_form``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from .errors import BrokerError
from .models import RunStats

PROTOCOL_VERSION = 2

Level = Literal["debug", "info", "warn", "error"]
Phase = Literal["connecting", "sending", "receiving", "processing"]

Draft = tuple[str, bytes]
"""An event's type and its payload as JSON text, before it has its place in a log."""


class Event(NamedTuple):
    """One event of a session's log. ``seq`` starts at 1 and has no gaps."""

    session_id: str
    seq: int
    type: str
    payload_json: bytes

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

    def __repr__(self) -> str:
        return f"Event({self.seq}, {self.type}, {self.payload_json.decode()})"


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as ``2026-01-31T12:00:00.000Z``."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def session_init(session_id: str, expires_at: float) -> Draft:
    """Nothing in a session's id needs escaping."""
    base, until = f"/sessions/{session_id}", timestamp(expires_at)
    text = (
        f'{{"cancelUrl":"{base}/cancel","expiresAt":"{until}",'
        f'"encryption":{{"enabled":false}},"replayUrl":"{base}/stream"}}'
    )
    return "session_init", text.encode()


def stdout(chunk: str) -> Draft:
    return _draft("stdout", chunk=chunk)


def log(level: Level, message: str, data: dict[str, JsonValue] | None = None) -> Draft:
    return _draft("log", level=level, message=message, data=data)


def tool_call(call_id: str, name: str, arguments_json: bytes, *, known: bool) -> Draft:
    """``known`` says that the name is a tool's own: then nothing in it needs escaping."""
    quoted = f'"{name}"' if known else to_json(name).decode()
    head = f'{{"callId":"{call_id}","toolName":{quoted},"args":'
    return "tool_call", b"%b%b}" % (head.encode(), arguments_json)


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
    text = f'{{"callId":"{call_id}","ok":true,"durationMs":{int(duration * 1000)}}}'
    return "tool_result_applied", text.encode()


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
    more = b"true" if has_next else b"false"
    return "partial_result", b'{"path":%b,"data":%b,"hasNext":%b}' % (
        to_json(list(path)),
        data_json,
        more,
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
    return Event(session_id, seq, "heartbeat", to_json({"ts": timestamp(now)}))


def final_ok(result_json: bytes | None, stats: RunStats) -> Draft:
    result = b"" if result_json is None else b',"result":%b' % result_json
    return "final", b'{"ok":true%b,"stats":%b}' % (result, to_json(_stats(stats)))


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
    return type, to_json(present, inf_nan_mode="null")
