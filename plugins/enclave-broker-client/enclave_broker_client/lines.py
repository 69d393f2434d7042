"""NDJSON: lines out of bytes, and events out of lines, each of them looked at closely."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from enclave_broker_core.events import PROTOCOL_VERSION, Event
from enclave_broker_core.json_form import NotJsonError, parse

from .errors import ProtocolError

KEYS = frozenset({"protocolVersion", "sessionId", "seq", "type", "payload"})
TYPE = re.compile(r"[a-z][a-z_]{0,63}")

# What an event has at the least. A type that is not here is of a newer server: it is passed on.
PAYLOADS: Mapping[str, Mapping[str, type]] = {
    "session_init": {"cancelUrl": str, "expiresAt": str, "encryption": dict},
    "stdout": {"chunk": str},
    "log": {"level": str, "message": str},
    "tool_call": {"callId": str, "toolName": str, "args": dict},
    "tool_progress": {"callId": str, "phase": str, "elapsedMs": int},
    "tool_result_applied": {"callId": str},
    "partial_result": {"path": list, "hasNext": bool},
    "heartbeat": {"ts": str},
    "error": {"message": str},
    "deadline_exceeded": {"elapsedMs": int, "budgetMs": int},
    "catalog_changed": {"version": str, "addedActions": list, "removedActions": list},
    "final": {"ok": bool},
}


class LineReader:
    """Takes bytes as they come and gives whole lines, of up to ``most`` bytes each."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lines: deque[bytes] = deque()
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """ProtocolError for a line that is too long."""
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._add(line)
            self._lines.append(b"".join(self._begun))
            self._begun, self._size = [], 0
        self._add(rest)

    def next(self) -> bytes | None:
        return self._lines.popleft() if self._lines else None

    def clear(self) -> None:
        """Forget what there is: another connection begins anew."""
        self._lines.clear()
        self._begun, self._size = [], 0

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._most:
            raise ProtocolError(f"a line of the stream is longer than {self._most} bytes")
        if part:
            self._begun.append(part)


def event_of(line: bytes, session_id: str) -> Event:
    """An event of this session. ProtocolError says what is wrong with a line that is none."""
    try:
        wire = parse(line)
    except NotJsonError as problem:
        raise ProtocolError(f"a line of the stream is {problem}") from None
    if not isinstance(wire, dict) or wire.keys() != KEYS:
        raise ProtocolError("a line of the stream is no event")
    version, seq, kind = wire["protocolVersion"], wire["seq"], wire["type"]
    if type(version) is not int or version != PROTOCOL_VERSION:
        raise ProtocolError(f"the stream is not of protocol version {PROTOCOL_VERSION}")
    if wire["sessionId"] != session_id:
        raise ProtocolError("an event of the stream is of another session")
    if type(seq) is not int or seq < 1:
        raise ProtocolError("an event of the stream has no place in it")
    if not isinstance(kind, str) or not TYPE.fullmatch(kind):
        raise ProtocolError(f"event {seq} has no type")
    _require_payload(seq, kind, wire["payload"])
    return Event(session_id, seq, kind, to_json(wire["payload"]))


def _require_payload(seq: int, kind: str, payload: Any) -> None:
    if not isinstance(payload, dict):
        raise ProtocolError(f"event {seq} ({kind}) has no payload")
    for name, wanted in PAYLOADS.get(kind, {}).items():
        value = payload.get(name)
        if type(value) is not wanted:
            raise ProtocolError(f"event {seq} ({kind}) has no {name} that is {wanted.__name__}")
    if kind == "final" and not payload["ok"]:
        error = payload.get("error")
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            raise ProtocolError(f"event {seq} (final) does not say what went wrong")
    if kind == "partial_result" and not all(isinstance(key, str) for key in payload["path"]):
        raise ProtocolError(f"event {seq} (partial_result) has a path that is not of texts")
