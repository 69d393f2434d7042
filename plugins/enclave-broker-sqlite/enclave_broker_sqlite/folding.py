"""Moves the latest events on to where each session has its own together, within its bounds."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from .config import SqliteConfig
from .log import Log

# What is in `recent` is looked through by who reads a session: it stays small.
FOLD_ROWS = 2000
FOLD_BYTES = 4 * 1024 * 1024

# Of sessions that are known; what is known of one is found out again when it is needed.
_MOST_KNOWN = 20_000


@dataclass(slots=True)
class Kept:
    """The first and the last of what is kept of a session, and how many bytes that is."""

    first: int
    last: int
    bytes: int


class Part:
    """One of the two tables, and its bounds for each session."""

    def __init__(
        self, sql: sqlite3.Connection, table: str, place: str, body: str, most: int, most_bytes: int
    ) -> None:
        self._sql = sql
        self._most = most
        self._most_bytes = most_bytes
        self._known: dict[int, Kept] = {}
        # All names are those above.
        where = f"FROM {table} WHERE session = ?"
        self._look = f"SELECT min({place}), max({place}), sum(length({body})) {where}"
        self._sizes = f"SELECT {place}, length({body}) {where} ORDER BY {place}"
        self._size_to = f"SELECT sum(length({body})) {where} AND {place} <= ?"
        self._remove = f"DELETE {where} AND {place} <= ?"

    def forget(self) -> None:
        self._known.clear()

    def added(self, session: int, last: int, size: int) -> None:
        """So much has come, up to ``last``: let the oldest go, if there is too much now."""
        kept = self._known.get(session)
        if kept is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            kept = self._known[session] = Kept(
                *self._sql.execute(self._look, (session,)).fetchone()
            )
        else:
            kept.last = last
            kept.bytes += size
        count = kept.last - kept.first + 1
        if count > self._most:
            # An eighth at a time, so that a full log is not trimmed again and again.
            self._trim(session, kept, kept.last - (self._most - self._most // 8))
        if kept.bytes > self._most_bytes and kept.first < kept.last:
            self._trim_bytes(session, kept)

    def _trim(self, session: int, kept: Kept, to: int) -> None:
        [size] = self._sql.execute(self._size_to, (session, to)).fetchone()
        self._sql.execute(self._remove, (session, to))
        kept.first = to + 1
        kept.bytes -= size or 0

    def _trim_bytes(self, session: int, kept: Kept) -> None:
        over = kept.bytes - self._most_bytes
        to = kept.first - 1
        for place, size in self._sql.execute(self._sizes, (session,)):
            # The newest stays, however large it is.
            if over <= 0 or place == kept.last:
                break
            over -= size
            to = place
        self._trim(session, kept, to)


class Folding:
    """Empties ``recent`` when there is enough in it; only then are the bounds looked at."""

    def __init__(self, sql: sqlite3.Connection, log: Log, config: SqliteConfig) -> None:
        self._sql = sql
        self._log = log
        self.rows = FOLD_ROWS
        self._events = Part(
            sql, "events", "seq", "payload", config.max_events, config.max_event_bytes
        )
        self._calls = Part(sql, "calls", "n", "arguments", config.max_calls, config.max_call_bytes)

    def forget(self) -> None:
        self._events.forget()
        self._calls.forget()

    @property
    def due(self) -> bool:
        return self._log.rows >= self.rows or self._log.bytes >= FOLD_BYTES

    def fold(self) -> None:
        sql = self._sql
        came = sql.execute(
            "SELECT session, max(seq), sum(length(payload)), max(n), sum(length(arguments))"
            " FROM recent GROUP BY session"
        ).fetchall()
        sql.execute(
            "INSERT INTO events SELECT session, seq, type, payload FROM recent"
            " ORDER BY session, seq"
        )
        sql.execute(
            "INSERT INTO calls SELECT session, n, call, arguments FROM recent"
            " WHERE n IS NOT NULL ORDER BY session, n"
        )
        sql.execute("DELETE FROM recent")
        for session, last_seq, event_bytes, last_n, call_bytes in came:
            self._events.added(session, last_seq, event_bytes)
            if last_n is not None:
                self._calls.added(session, last_n, call_bytes)
        self._log.rows = self._log.bytes = 0
