"""Reads what is committed; what is being written meanwhile keeps nobody waiting."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import anyio
from anyio import to_thread
from pydantic_core import from_json

from enclave_broker_core.calls import CallRecord, call_record
from enclave_broker_core.events import Event
from enclave_broker_core.models import SessionRecord, SessionState
from enclave_broker_core.store_abilities import Saved

from .failures import failure
from .log import not_found, progress, with_older

T = TypeVar("T")

_LARGEST = 2**63 - 1
_GET = "SELECT number, record, state, ended_at FROM sessions WHERE id = ?"
_LIST = "SELECT number, record, state, ended_at FROM sessions WHERE number > ?"

_WHERE = "WHERE session = ? AND seq >= ?"
_EVENTS = f"SELECT seq, type, payload FROM events {_WHERE} ORDER BY seq LIMIT ?"  # noqa: S608
_RECENT_EVENTS = f"SELECT seq, type, payload FROM recent {_WHERE} ORDER BY id LIMIT ?"  # noqa: S608


class Page(NamedTuple):
    """Which session it is, whether it has ended, and some of its events."""

    number: int
    ended: bool
    events: Sequence[Event]


class Reader:
    """One connection, which one thread uses at a time."""

    def __init__(self, sql: sqlite3.Connection, path: str) -> None:
        self._sql = sql
        self._path = path
        self._turns = anyio.CapacityLimiter(1)

    @property
    def idle(self) -> bool:
        return self._turns.borrowed_tokens == 0

    async def run(self, query: Callable[..., T], *arguments: Any) -> T:
        """One of the queries below, all of it as the file is at one time. StoreError."""
        return await to_thread.run_sync(self._run, query, arguments, limiter=self._turns)

    def _run(self, query: Callable[..., T], arguments: Sequence[Any]) -> T:
        try:
            with _snapshot(self._sql):
                return query(self._sql, *arguments)
        except sqlite3.Error as problem:
            raise failure(self._path, problem) from problem

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._sql.close, limiter=self._turns)


@contextmanager
def _snapshot(sql: sqlite3.Connection) -> Iterator[None]:
    sql.execute("BEGIN")
    try:
        yield
    finally:
        if sql.in_transaction:
            sql.execute("COMMIT")


def get(sql: sqlite3.Connection, session_id: str) -> SessionRecord | None:
    row = sql.execute(_GET, (session_id,)).fetchone()
    return None if row is None else _record(row, *progress(sql, row[0]))


def list_(
    sql: sqlite3.Connection,
    principal_id: str | None,
    tenant: str | None,
    include_ended: bool,
    limit: int,
    after: str | None,
) -> Sequence[SessionRecord]:
    wanted: list[Any] = [0 if after is None else _number(sql, after)]
    query = _LIST
    if not include_ended:
        query += " AND ended_at IS NULL"
    for column, value in (("principal", principal_id), ("tenant", tenant)):
        if value is not None:
            query += f" AND {column} = ?"
            wanted.append(value)
    rows = sql.execute(f"{query} ORDER BY number LIMIT ?", (*wanted, max(0, limit)))
    recent = {
        number: known
        for number, *known in sql.execute(
            "SELECT session, max(seq), max(n) FROM recent GROUP BY session"
        )
    }
    return [
        _record(row, *with_older(sql, row[0], *recent.get(row[0], (None, None)))) for row in rows
    ]


def _number(sql: sqlite3.Connection, session_id: str) -> int:
    """The number of a session, also when it has been deleted."""
    for query in (
        "SELECT number FROM sessions WHERE id = ?",
        "SELECT number FROM gone WHERE id = ? ORDER BY number DESC LIMIT 1",
    ):
        found = sql.execute(query, (session_id,)).fetchone()
        if found is not None:
            return int(found[0])
    raise not_found(session_id)


def open_ids(sql: sqlite3.Connection) -> Sequence[str]:
    """The sessions that have not ended, oldest first."""
    rows = sql.execute("SELECT id FROM sessions WHERE ended_at IS NULL ORDER BY number")
    return [id for (id,) in rows]


def read(sql: sqlite3.Connection, session_id: str, from_seq: int, limit: int) -> Page:
    number, ended_at = _session(sql, session_id)
    limit, first = max(0, limit), max(1, min(from_seq, _LARGEST))
    found: list[Event] = []
    for query in (
        "SELECT seq, type, payload FROM events WHERE session = ? AND seq >= ? ORDER BY seq LIMIT ?",
        "SELECT seq, type, payload FROM recent WHERE session = ? AND seq >= ? ORDER BY id LIMIT ?",
    ):
        if len(found) < limit:
            rows = sql.execute(query, (number, first, limit - len(found)))
            found += [Event(session_id, *row) for row in rows]
    return Page(number, ended_at is not None, found)


def history(sql: sqlite3.Connection, session_id: str) -> Sequence[CallRecord]:
    number, _ = _session(sql, session_id)
    found: list[CallRecord] = []
    for query in (
        "SELECT call, arguments FROM calls WHERE session = ? ORDER BY n",
        "SELECT call, arguments FROM recent WHERE session = ? AND n IS NOT NULL ORDER BY id",
    ):
        found += _calls(sql.execute(query, (number,)))
    return found


def saved(sql: sqlite3.Connection, session_id: str) -> Saved | None:
    number, _ = _session(sql, session_id)
    state = sql.execute("SELECT state FROM saved WHERE session = ?", (number,)).fetchone()
    if state is None:
        return None
    answers = sql.execute("SELECT call, answer FROM answers WHERE session = ?", (number,))
    return Saved(state[0], dict(answers))


def _session(sql: sqlite3.Connection, session_id: str) -> tuple[int, float | None]:
    found: tuple[int, float | None] | None = sql.execute(
        "SELECT number, ended_at FROM sessions WHERE id = ?", (session_id,)
    ).fetchone()
    if found is None:
        raise not_found(session_id)
    return found


def _record(
    row: tuple[int, bytes, str | None, float | None], last_seq: int, calls: int
) -> SessionRecord:
    """The session as it stands: as it was created, and what has changed since."""
    _, text, state, ended_at = row
    record = SessionRecord.model_validate_json(text)
    now: dict[str, Any] = {"last_seq": last_seq, "tool_calls": record.tool_calls + calls}
    if state is not None:
        now |= {"state": SessionState(state), "ended_at": ended_at}
    return record.model_copy(update=now)


def _calls(rows: Iterable[tuple[bytes, bytes]]) -> list[CallRecord]:
    found = []
    for known, arguments in rows:
        call_id, tool, *more = from_json(known)
        found.append(call_record((call_id, tool, arguments, *more)))
    return found
