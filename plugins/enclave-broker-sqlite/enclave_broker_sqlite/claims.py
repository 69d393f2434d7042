"""The keys that are claimed in sessions, as they are written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from enclave_broker_core.errors import SessionNotFoundError, TooManyClaimsError
from enclave_broker_core.models import Claim

from .config import SqliteConfig
from .log import Log

# Most of what is pending is done long before its time ends.
RETRY_WHEN_FULL = 1.0
_REMOVED = 500

_NEW, _PENDING, _CONFLICT = Claim("new"), Claim("pending"), Claim("conflict")


class Found(NamedTuple):
    """What comes of claiming: in which session, by which row, for how many seconds yet."""

    claim: Claim
    session: int
    row: int
    left: float


class Claims:
    def __init__(
        self, sql: sqlite3.Connection, log: Log, config: SqliteConfig, now: Callable[[], float]
    ) -> None:
        self._sql = sql
        self._log = log
        self._now = now
        self._most = config.max_claims
        self._most_bytes = config.max_claim_bytes

    def claim(self, session_id: str, key: bytes, fingerprint: bytes, seconds: float) -> Found:
        """SessionNotFoundError, TooManyClaimsError."""
        session, now = self._log.facts(session_id).number, self._now()
        row = self._sql.execute(
            "SELECT id, fingerprint, expires_at, settled, answer FROM claims"
            " WHERE session = ? AND key = ?",
            (session, key),
        ).fetchone()
        if row is not None and row[2] <= now:
            self._sql.execute("DELETE FROM claims WHERE id = ?", row[:1])
            row = None
        if row is None:
            self._make_room(session, now)
            made = self._sql.execute(
                "INSERT INTO claims (session, key, fingerprint, expires_at) VALUES (?, ?, ?, ?)",
                (session, key, fingerprint, now + seconds),
            )
            return Found(_NEW, session, made.lastrowid or 0, seconds)
        id, claimed_for, expires_at, settled, answer = row
        if claimed_for != fingerprint:
            claim = _CONFLICT
        else:
            claim = _PENDING if settled is None else Claim("settled", answer)
        return Found(claim, session, id, expires_at - now)

    def settle(self, session_id: str, key: bytes, answer: bytes) -> None:
        session = self._session(session_id)
        settled = self._sql.execute(
            "UPDATE claims SET answer = :answer, settled ="
            " (SELECT coalesce(max(settled), 0) + 1 FROM claims WHERE session = :session)"
            " WHERE session = :session AND key = :key AND settled IS NULL AND expires_at > :now",
            {"session": session, "answer": answer, "key": key, "now": self._now()},
        )
        if settled.rowcount:
            self._trim(session)

    def release(self, session_id: str, key: bytes) -> None:
        self._sql.execute(
            "DELETE FROM claims WHERE session = ? AND key = ? AND settled IS NULL",
            (self._session(session_id), key),
        )

    def withdraw(self, row: int) -> None:
        """Nobody has got what this row was claimed for."""
        self._sql.execute("DELETE FROM claims WHERE id = ? AND settled IS NULL", (row,))

    def sweep(self) -> None:
        """Remove some claims whose time is over."""
        self._sql.execute(
            "DELETE FROM claims WHERE id IN"
            " (SELECT id FROM claims WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
            (self._now(), _REMOVED),
        )

    def _session(self, session_id: str) -> int:
        """The session's number; one that no session has when there is none."""
        try:
            return self._log.facts(session_id).number
        except SessionNotFoundError:
            return 0

    def _make_room(self, session: int, now: float) -> None:
        if self._count(session) < self._most:
            return
        self._sql.execute(
            "DELETE FROM claims WHERE session = ? AND expires_at <= ?", (session, now)
        )
        count = self._count(session)
        if count < self._most:
            return
        left = self._sql.execute(
            "DELETE FROM claims WHERE id = (SELECT id FROM claims"
            " WHERE session = ? AND settled IS NOT NULL ORDER BY settled LIMIT 1)",
            (session,),
        )
        if not left.rowcount:
            raise TooManyClaimsError(
                f"{count} keys of the session are in use and none of them is done",
                retry_after=RETRY_WHEN_FULL,
            )

    def _count(self, session: int) -> int:
        [count] = self._sql.execute(
            "SELECT count(*) FROM claims WHERE session = ?", (session,)
        ).fetchone()
        return int(count)

    def _trim(self, session: int) -> None:
        """Let those go that were settled first, but never the one settled last."""
        rows = self._sql.execute(
            "SELECT id, length(answer) FROM claims WHERE session = ? AND settled IS NOT NULL"
            " ORDER BY settled DESC",
            (session,),
        ).fetchall()
        size = 0
        for place, (id, length) in enumerate(rows):
            size += length
            if place and size > self._most_bytes:
                self._sql.execute("DELETE FROM claims WHERE id = ?", (id,))
