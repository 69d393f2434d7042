"""All that is written, in one place for the writer's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress

from enclave_broker_core.events import Draft
from enclave_broker_core.models import Admission, Window

from .claims import Claims
from .clock import Clock, Timer
from .config import SqliteConfig
from .folding import Folding
from .log import Log
from .runs import Runs
from .sessions import Sessions
from .windows import Windows


class Ledger:
    """The tables, and what is known of them in memory.

    When a transaction fails, what is known may be wrong: it is read again before the next.
    """

    def __init__(
        self, sql: sqlite3.Connection, config: SqliteConfig, wall: Timer, timer: Timer
    ) -> None:
        self._sql = sql
        [latest] = sql.execute(
            "SELECT coalesce(max(until - pow2), 0) FROM"
            " (SELECT max(until) AS until, 1 << span AS pow2 FROM admissions GROUP BY span)"
        ).fetchone()
        self.clock = Clock(latest, wall, timer)
        self.log = Log(sql)
        self.folding = Folding(sql, self.log, config)
        self.sessions = Sessions(sql, self.log, config)
        self.claims = Claims(sql, self.log, config, self.clock.now)
        self.windows = Windows(sql, self.clock.now)
        self.runs = Runs(sql, self.log)
        self._stale = False

    def admit(
        self, session_id: str, held: bool, event: Draft, windows: Sequence[Window]
    ) -> tuple[int, Admission]:
        """Write the event; then count the call, of which LimiterError says that it failed."""
        return self.log.append(session_id, held, event), self.windows.acquire(windows)

    def forget_over(self) -> None:
        """Forget claims and windows whose time is over."""
        self.claims.sweep()
        self.windows.sweep()

    def begin(self) -> None:
        if self._stale:
            # The disk may be full: then there is room at least where this has been written back.
            with suppress(sqlite3.Error):
                self._sql.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            for part in (self.log, self.folding, self.sessions):
                part.forget()
            self.windows.recover()
            self._stale = False
        self._sql.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self.log.flush()
        self.windows.write()
        self._sql.execute("COMMIT")
        self.windows.written()

    def rollback(self) -> None:
        self._stale = True
        with suppress(sqlite3.Error):
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")

    @property
    def untidy(self) -> bool:
        """Whether there is something for ``tidy`` to do."""
        return self.folding.due or self.sessions.leftovers

    def tidy(self) -> bool:
        if self.folding.due:
            self.begin()
            self.folding.fold()
            self._sql.execute("COMMIT")
        elif self.sessions.leftovers:
            self.begin()
            self.sessions.clear()
            self._sql.execute("COMMIT")
        else:
            return False
        return True

    def close(self) -> None:
        self._sql.close()
