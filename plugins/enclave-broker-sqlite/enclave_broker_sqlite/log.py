"""The logs and histories of sessions, as they are written."""

from __future__ import annotations

import sqlite3

from enclave_broker_core.errors import SessionEndedError, SessionLostError, SessionNotFoundError
from enclave_broker_core.events import Draft

StoredCall = tuple[bytes, bytes]
"""A finished call: what is known of it, and its arguments."""

_COLUMNS = 7
# Each statement lets go of the interpreter, and gets it back only when others do: so many
# rows are written by few statements. Their texts are these, for they are prepared once.
_ROW = "(?, ?, ?, ?, ?, ?, ?)"
_INSERT = "INSERT INTO recent (session, seq, type, payload, n, call, arguments) VALUES"
_INSERTS = tuple(
    (size * _COLUMNS, f"{_INSERT} {', '.join([_ROW] * size)}") for size in (64, 16, 4, 1)
)


class Facts:
    """What writing to a session needs to know of it; ``calls`` is how many have finished."""

    __slots__ = ("calls", "ended", "last_seq", "number")

    def __init__(self, number: int, last_seq: int, calls: int, ended: bool) -> None:
        self.number = number
        self.last_seq = last_seq
        self.calls = calls
        self.ended = ended


class Log:
    """Writes events at the places that they get here.

    They first go to ``recent``, in the order of their coming: there a commit writes to a few
    pages, however many sessions it is about. ``rows`` and ``bytes`` are how much is there.
    """

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql
        self._facts: dict[str, Facts] = {}
        self._values: list[int | str | bytes | None] = []
        self.rows = self.bytes = 0
        self.forget()

    def forget(self) -> None:
        """What is known may not be so: find it out anew."""
        self._facts.clear()
        self._values.clear()
        self.rows, self.bytes = self._sql.execute(
            "SELECT count(*), coalesce(sum(length(payload) + coalesce(length(arguments), 0)), 0)"
            " FROM recent"
        ).fetchone()

    def add(self, session_id: str, number: int) -> None:
        """There is a new session."""
        self._facts[session_id] = Facts(number, 0, 0, False)

    def drop(self, session_id: str) -> None:
        self._facts.pop(session_id, None)

    def facts(self, session_id: str) -> Facts:
        """SessionNotFoundError when there is no such session."""
        facts = self._facts.get(session_id)
        return self._find(session_id) if facts is None else facts

    def writable(self, session_id: str, held: bool) -> Facts:
        """The facts of a session that may be written to.

        SessionNotFoundError, SessionEndedError; SessionLostError unless it is ``held``.
        """
        facts = self._facts.get(session_id) or self._find(session_id)
        if facts.ended:
            raise SessionEndedError(f"the session {session_id!r} has ended")
        if not held:
            raise SessionLostError(f"the session {session_id!r} is not held by this broker")
        return facts

    def append(
        self,
        session_id: str,
        held: bool,
        event: Draft,
        call: StoredCall | None = None,
    ) -> int:
        """Add an event, and a finished call; its ``seq``. Raises as ``writable`` does."""
        facts = self._facts.get(session_id)
        if facts is None or facts.ended or not held:
            facts = self.writable(session_id, held)
        facts.last_seq = seq = facts.last_seq + 1
        kind, payload = event
        self.rows += 1
        self.bytes += len(payload)
        if call is None:
            self._values += (facts.number, seq, kind, payload, None, None, None)
        else:
            facts.calls = n = facts.calls + 1
            known, arguments = call
            self.bytes += len(arguments)
            self._values += (facts.number, seq, kind, payload, n, known, arguments)
        return seq

    def flush(self) -> None:
        """Write the rows that were added: whoever looks at the tables does this first."""
        values = self._values
        if not values:
            return
        at = 0
        for width, statement in _INSERTS:
            while len(values) - at >= width:
                self._sql.execute(statement, values[at : at + width])
                at += width
        values.clear()

    def _find(self, session_id: str) -> Facts:
        self.flush()
        found = self._sql.execute(
            "SELECT number, ended_at FROM sessions WHERE id = ?", (session_id,)
        ).fetchone()
        if found is None:
            raise not_found(session_id)
        number, ended_at = found
        facts = Facts(number, *progress(self._sql, number), ended_at is not None)
        if not facts.ended:
            self._facts[session_id] = facts
        return facts


def progress(sql: sqlite3.Connection, number: int) -> tuple[int, int]:
    """The last seq of a session's log, and how many calls it has finished."""
    seq, calls = sql.execute(
        "SELECT max(seq), max(n) FROM recent WHERE session = ?", (number,)
    ).fetchone()
    return with_older(sql, number, seq, calls)


def with_older(
    sql: sqlite3.Connection, number: int, seq: int | None, calls: int | None
) -> tuple[int, int]:
    """The same, when what ``recent`` says of it is known; None is nothing."""
    if seq is None:
        [seq] = sql.execute("SELECT max(seq) FROM events WHERE session = ?", (number,)).fetchone()
    if calls is None:
        [calls] = sql.execute("SELECT max(n) FROM calls WHERE session = ?", (number,)).fetchone()
    return seq or 0, calls or 0


def not_found(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"there is no session {session_id!r}")
