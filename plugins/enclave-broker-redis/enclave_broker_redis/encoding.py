"""Sessions, events and calls as they stand in the keys."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import from_json, to_json

from enclave_broker_core.calls import CallRecord, call_record
from enclave_broker_core.events import Event
from enclave_broker_core.models import SessionRecord, SessionState

# What ``stored_session`` wants of a session's hash.
FIELDS = ("n", "st", "at", "k")

Entry = tuple[bytes, Sequence[bytes]]


def stored_session(record_json: bytes, fields: Sequence[bytes | None]) -> SessionRecord:
    """The session as it stands: as it was created, and what has changed since."""
    record = SessionRecord.model_validate_json(record_json)
    last_seq, state, ended_at, calls = fields
    now = {"last_seq": int(last_seq or 0), "tool_calls": record.tool_calls + int(calls or 0)}
    if state is None or ended_at is None:
        return record.model_copy(update=now)
    ended = {"state": SessionState(state.decode()), "ended_at": float(ended_at)}
    return record.model_copy(update=now | ended)


def events_of(session_id: str, entries: Sequence[Entry]) -> list[Event]:
    return [
        Event(session_id, int(id[: id.index(b"-")]), named[0].decode(), named[1])
        for id, named in entries
    ]


def call_arguments(call: CallRecord) -> tuple[bytes, bytes]:
    """A finished call in two parts: what is known of it, and its arguments."""
    call_id, tool, arguments_json, *more = call
    return to_json([call_id, tool, *more]), arguments_json


def calls_of(entries: Sequence[Entry]) -> list[CallRecord]:
    return [_call(*named) for _, named in entries]


def _call(known: bytes, arguments_json: bytes) -> CallRecord:
    call_id, tool, *more = from_json(known)
    return call_record((call_id, tool, arguments_json, *more))
