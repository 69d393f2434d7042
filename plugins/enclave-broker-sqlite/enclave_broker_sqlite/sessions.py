"""The sessions themselves, as they are written: created, ended, deleted, swept."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

from enclave_broker_core.errors import (
    SessionEndedError,
    SessionExistsError,
    SessionNotFoundError,
    TooManySessionsError,
)
from enclave_broker_core.events import Draft
from enclave_broker_core.models import SessionRecord

from .config import SqliteConfig
from .log import Log

# A refused caller that came back at once would only be refused again.
_SHORTEST_RETRY = 0.1

# How many sessions are deleted, and how many rows of one are removed, in one transaction.
_SWEPT = 50
_REMOVED = 500

_PARTS = (
    """DELETE FROM events WHERE session = :session AND seq <= (SELECT max(seq) FROM
        (SELECT seq FROM events WHERE session = :session ORDER BY seq LIMIT :most))""",
    """DELETE FROM calls WHERE session = :session AND n <= (SELECT max(n) FROM
        (SELECT n FROM calls WHERE session = :session ORDER BY n LIMIT :most))""",
    "DELETE FROM claims WHERE id IN (SELECT id FROM claims WHERE session = :session LIMIT :most)",
)


class NewSession(NamedTuple):
    """A record as it goes into its row."""

    id: str
    principal: str | None
    tenant: str | None
    expires_at: float
    record: bytes

    @classmethod
    def of(cls, record: SessionRecord) -> NewSession:
        principal = record.principal
        return cls(
            record.id,
            None if principal is None else principal.id,
            None if principal is None else principal.tenant,
            record.expires_at,
            record.model_dump_json().encode(),
        )


class Sessions:
    def __init__(self, sql: sqlite3.Connection, log: Log, config: SqliteConfig) -> None:
        self._sql = sql
        self._log = log
        self._grace = config.grace
        self._max_ended = config.max_ended
        self._open = self._ended = self._last = 0
        self.leftovers = True
        self.forget()

    def forget(self) -> None:
        one = self._sql.execute
        [self._open] = one("SELECT count(*) FROM sessions WHERE ended_at IS NULL").fetchone()
        [self._ended] = one("SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL").fetchone()
        # The latest of those that are gone are remembered, so no number comes twice.
        [self._last] = one(
            "SELECT max(coalesce((SELECT max(number) FROM sessions), 0),"
            " coalesce((SELECT max(number) FROM gone), 0))"
        ).fetchone()

    def create(self, new: NewSession, max_open: int | None, max_of_principal: int | None) -> None:
        if self._sql.execute("SELECT 1 FROM sessions WHERE id = ?", (new.id,)).fetchone():
            raise SessionExistsError(f"the session id {new.id!r} is taken")
        if new.principal is not None and max_of_principal is not None:
            count, next_expiry = self._sql.execute(
                "SELECT count(*), min(expires_at) FROM sessions"
                " WHERE ended_at IS NULL AND principal = ? AND tenant IS ?",
                (new.principal, new.tenant),
            ).fetchone()
            if count >= max_of_principal:
                raise _too_many(count, f" of {new.principal!r}", max_of_principal, next_expiry)
        if max_open is not None and self._open >= max_open:
            [next_expiry] = self._sql.execute(
                "SELECT min(expires_at) FROM sessions WHERE ended_at IS NULL"
            ).fetchone()
            raise _too_many(self._open, "", max_open, next_expiry)
        self._last += 1
        self._sql.execute(
            "INSERT INTO sessions (number, id, principal, tenant, expires_at, record)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (self._last, *new),
        )
        self._open += 1
        self._log.add(new.id, self._last)

    def end(
        self, session_id: str, held: bool, final: Draft, state: str, at: float
    ) -> Sequence[str] | None:
        """End a session; those that had to leave for it. None when it had ended before."""
        try:
            facts = self._log.writable(session_id, held)
        except SessionEndedError:
            return None
        self._log.append(session_id, held, final)
        self._sql.execute(
            "UPDATE sessions SET ended_at = ?, state = ? WHERE number = ?",
            (at, state, facts.number),
        )
        self._forget_run(facts.number)
        facts.ended = True
        self._log.drop(session_id)
        self._open -= 1
        self._ended += 1
        left = []
        while self._ended > self._max_ended:
            [first] = self._sql.execute(
                "SELECT id FROM sessions WHERE ended_at IS NOT NULL ORDER BY ended_at, id LIMIT 1"
            ).fetchone()
            self.delete(first)
            left.append(first)
        return left

    def delete(self, session_id: str) -> bool:
        try:
            facts = self._log.facts(session_id)
        except SessionNotFoundError:
            return False
        self._log.flush()
        gone = self._sql.execute("DELETE FROM recent WHERE session = ?", (facts.number,))
        self._log.rows -= gone.rowcount
        self._sql.execute("DELETE FROM sessions WHERE number = ?", (facts.number,))
        self._sql.execute("INSERT INTO gone (number, id) VALUES (?, ?)", (facts.number, session_id))
        self._forget_run(facts.number)
        self._log.drop(session_id)
        self.leftovers = True
        if facts.ended:
            self._ended -= 1
        else:
            self._open -= 1
        return True

    def sweep(self, now: float) -> Sequence[str]:
        """Delete some of the sessions that ended longer than the grace time ago."""
        due = [
            id
            for (id,) in self._sql.execute(
                "SELECT id FROM sessions WHERE ended_at IS NOT NULL AND ended_at < ?"
                " ORDER BY ended_at, id LIMIT ?",
                (now - self._grace, _SWEPT),
            )
        ]
        for session_id in due:
            self.delete(session_id)
        return due

    def clear(self) -> bool:
        """Remove some rows of sessions that were deleted; whether there may be more."""
        found = self._sql.execute(
            "SELECT number FROM gone WHERE cleared = 0 ORDER BY number LIMIT 1"
        ).fetchone()
        if found is None:
            self.leftovers = False
            return False
        which = {"session": found[0], "most": _REMOVED}
        removed = sum(self._sql.execute(part, which).rowcount for part in _PARTS)
        if removed < _REMOVED:
            self._sql.execute("UPDATE gone SET cleared = 1 WHERE number = ?", found)
            self._sql.execute(
                "DELETE FROM gone WHERE cleared = 1 AND number <="
                " (SELECT number FROM gone ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (self._max_ended,),
            )
        return True

    def _forget_run(self, number: int) -> None:
        """No state of code that ran is left of it."""
        self._sql.execute("DELETE FROM saved WHERE session = ?", (number,))
        self._sql.execute("DELETE FROM answers WHERE session = ?", (number,))


def _too_many(count: int, whose: str, most: int, next_expiry: float | None) -> TooManySessionsError:
    """The refusal of one more; it says when the next of those that are open expires."""
    left = 0.0 if next_expiry is None else next_expiry - time.time()
    return TooManySessionsError(
        f"{count} sessions{whose} are open and at most {most} may be",
        retry_after=max(_SHORTEST_RETRY, left),
    )
