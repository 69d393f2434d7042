"""What a row holds of the values that a store is given."""

from __future__ import annotations

import json
from collections.abc import Iterable

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import SessionRecord


def of_text(text: str) -> bytes:
    """For names of all kinds: whatever a caller may choose has such a form."""
    return text.encode("utf-8", "surrogatepass")


def of_record(record: SessionRecord) -> bytes:
    return json.dumps(record.model_dump(mode="json")).encode()


def to_record(row: tuple[bytes, str, float | None, int, int]) -> SessionRecord:
    """The session as it stands: what changes has columns of its own."""
    kept, state, ended_at, last_seq, tool_calls = row
    now = {"state": state, "ended_at": ended_at, "last_seq": last_seq, "tool_calls": tool_calls}
    return SessionRecord.model_validate(json.loads(kept) | now)


def of_call(call: CallRecord) -> bytes:
    fields = call._replace(arguments_json=b"")._asdict() | {"arguments_json": ""}
    return json.dumps(fields).encode() + b"\n" + call.arguments_json


def to_call(kept: bytes) -> CallRecord:
    fields, _, arguments_json = kept.partition(b"\n")
    return CallRecord(**json.loads(fields) | {"arguments_json": arguments_json})


def to_events(session_id: str, rows: Iterable[tuple[int, str, bytes]]) -> list[Event]:
    return [Event(session_id, seq, type, payload) for seq, type, payload in rows]


def of_draft(event: Draft) -> dict[str, object]:
    return {"type": event[0], "payload": event[1]}
