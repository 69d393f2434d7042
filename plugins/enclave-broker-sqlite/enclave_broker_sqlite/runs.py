"""The state of code that runs, and the answers of calls that were given since."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from enclave_broker_core.events import Draft

from .log import Log, StoredCall


class Runs:
    def __init__(self, sql: sqlite3.Connection, log: Log) -> None:
        self._sql = sql
        self._log = log

    def append(
        self, session_id: str, held: bool, event: Draft, call: StoredCall, id: str, answer: bytes
    ) -> int:
        """As the log's, with the answer of the call."""
        seq = self._log.append(session_id, held, event, call)
        number = self._log.facts(session_id).number
        self._sql.execute(
            "INSERT OR REPLACE INTO answers (session, call, answer) VALUES (?, ?, ?)",
            (number, id, answer),
        )
        return seq

    def save(self, session_id: str, held: bool, state: bytes, keep: Collection[str]) -> None:
        number = self._log.writable(session_id, held).number
        self._sql.execute("INSERT OR REPLACE INTO saved VALUES (?, ?)", (number, state))
        kept = self._sql.execute("SELECT call FROM answers WHERE session = ?", (number,)).fetchall()
        self._sql.executemany(
            "DELETE FROM answers WHERE session = ? AND call = ?",
            [(number, call) for (call,) in kept if call not in keep],
        )
