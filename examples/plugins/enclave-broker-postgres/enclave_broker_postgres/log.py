"""A session's log and history: each entry is one statement, which is one transaction."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
from enclave_broker_core.calls import CallRecord
from enclave_broker_core.errors import SessionEndedError, SessionNotFoundError
from enclave_broker_core.events import Draft, Event

from .config import PostgresConfig
from .connections import Connection
from .forms import of_call, of_draft, of_text, to_events

APPEND = """
WITH session AS (
    UPDATE sessions SET last_seq = last_seq + 1, tool_calls = tool_calls + %(calls)s
    WHERE id = %(id)s AND ended_at IS NULL RETURNING number, last_seq, tool_calls
), event AS (
    INSERT INTO events SELECT number, last_seq, %(type)s, %(payload)s, %(token)s FROM session
), call AS (
    INSERT INTO calls SELECT number, tool_calls, %(call)s FROM session WHERE %(calls)s = 1
), left_log AS (
    DELETE FROM events USING session
    WHERE session = number AND seq <= last_seq - %(max_events)s
), left_history AS (
    DELETE FROM calls USING session
    WHERE session = number AND place <= tool_calls - %(max_calls)s
)
SELECT last_seq FROM session
"""
END = """
WITH session AS (
    UPDATE sessions SET last_seq = last_seq + 1, state = %(state)s, ended_at = %(at)s,
        end_place = nextval('places')
    WHERE id = %(id)s AND ended_at IS NULL RETURNING number, last_seq
), event AS (
    INSERT INTO events SELECT number, last_seq, %(type)s, %(payload)s, %(token)s FROM session
), left_log AS (
    DELETE FROM events USING session
    WHERE session = number AND seq <= last_seq - %(max_events)s
)
SELECT last_seq FROM session
"""
WRITTEN = """
SELECT seq FROM events WHERE token = %s AND session = (SELECT number FROM sessions WHERE id = %s)
"""
THERE = "SELECT 1 FROM sessions WHERE id = %s"
# One row without an event when there is none: so is an unknown session told from a quiet one.
READ = """
SELECT number, ended_at IS NOT NULL, seq, type, payload FROM sessions LEFT JOIN LATERAL (
    SELECT seq, type, payload FROM events WHERE session = number AND seq >= %s
    ORDER BY seq LIMIT %s
) AS found ON true WHERE id = %s ORDER BY seq
"""
HISTORY = """
SELECT call FROM sessions LEFT JOIN calls ON session = number WHERE id = %s ORDER BY place
"""
MOST_DOUBTS = 10_000
LARGEST = 2**62


@dataclass
class Doubt:
    """Of an event that may have been written: its ``token`` finds it there."""

    event: Draft
    token: UUID
    sent: bool = False


class Doubts:
    """Which events were given and came to no answer; over so many the oldest are forgotten.

    It is the object that counts, for two events may say the same. It is kept with its doubt, so
    its ``id`` is not another's meanwhile.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, int], Doubt] = OrderedDict()

    def of(self, session_id: str, event: Draft) -> Doubt:
        doubt = self._held.setdefault((session_id, id(event)), Doubt(event, uuid4()))
        if len(self._held) > MOST_DOUBTS:
            self._held.popitem(last=False)
        return doubt

    def settle(self, session_id: str, event: Draft) -> None:
        self._held.pop((session_id, id(event)), None)


async def append(
    connection: Connection,
    session_id: str,
    doubt: Doubt,
    call: CallRecord | None,
    config: PostgresConfig,
) -> int:
    """Write the event, or find it written; its seq. May be repeated with the same doubt."""
    id = of_text(session_id)
    row = await _written(connection, id, doubt)
    if row is None:
        values = of_draft(doubt.event) | {
            "id": id,
            "token": doubt.token,
            "calls": 0 if call is None else 1,
            "call": None if call is None else of_call(call),
            "max_events": config.max_events,
            "max_calls": config.max_calls,
        }
        row = await _write(connection, id, doubt, APPEND, values)
    if row is not None:
        return int(row[0])
    if await (await connection.execute(THERE, (id,))).fetchone() is None:
        raise SessionNotFoundError(f"there is no session {session_id!r}")
    raise SessionEndedError(f"the session {session_id!r} has ended")


async def _written(connection: Connection, id: bytes, doubt: Doubt) -> tuple[Any, ...] | None:
    if doubt.sent:
        return await (await connection.execute(WRITTEN, (doubt.token, id))).fetchone()
    doubt.sent = True
    return None


async def _write(
    connection: Connection, id: bytes, doubt: Doubt, statement: str, values: dict[str, object]
) -> tuple[Any, ...] | None:
    try:
        return await (await connection.execute(statement, values)).fetchone()
    except psycopg.errors.UniqueViolation:
        # The server was still at it when the connection was cut, and was the quicker one.
        return await _written(connection, id, doubt)


async def end(
    connection: Connection,
    session_id: str,
    doubt: Doubt,
    state: str,
    at: float,
    config: PostgresConfig,
) -> bool:
    """Whether this ended the session, now or when the event was given before."""
    id = of_text(session_id)
    if await _written(connection, id, doubt) is not None:
        return True
    values = of_draft(doubt.event) | {
        "id": id,
        "token": doubt.token,
        "state": state,
        "at": at,
        "max_events": config.max_events,
    }
    if await _write(connection, id, doubt, END, values) is not None:
        return True
    if await (await connection.execute(THERE, (id,))).fetchone() is None:
        raise SessionNotFoundError(f"there is no session {session_id!r}")
    return False


async def read(
    connection: Connection, session_id: str, from_seq: int, limit: int
) -> tuple[int, bool, list[Event]]:
    """The session's number, whether it has ended, and what is asked for."""
    bounds = (max(1, min(from_seq, LARGEST)), min(limit, LARGEST), of_text(session_id))
    rows = await (await connection.execute(READ, bounds)).fetchall()
    if not rows:
        raise SessionNotFoundError(f"there is no session {session_id!r}")
    number, ended = rows[0][:2]
    return number, ended, to_events(session_id, [row[2:] for row in rows if row[2] is not None])
