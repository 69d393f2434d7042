"""SQLite, by Python's own driver."""

from __future__ import annotations

import datetime
import sqlite3
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enclave_broker_core.errors import ConfigError
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import TypeEngine

from .databases import BROKEN_RULES, CONTENDED, FAILED, UNFIT, Failure, WrongStatement
from .statements import Statement

READS = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
WRITES = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})
RULES: Mapping[str, str] = {
    "SQLITE_CONSTRAINT_UNIQUE": "unique",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "unique",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "foreign",
    "SQLITE_CONSTRAINT_NOTNULL": "missing",
    "SQLITE_CONSTRAINT_CHECK": "check",
}


class Sqlite:
    """A file. It is opened for reading only when no query writes, and never made."""

    # Its columns have types, and its values have what they are given as.
    types: Mapping[str, TypeEngine[Any]] = {}

    def __init__(self, path: Path, *, read_only: bool, connections: int) -> None:
        if not path.is_file():
            raise ConfigError(f"there is no database {path}")
        uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"

        def connect() -> sqlite3.Connection:
            raw = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False, timeout=0
            )
            raw.text_factory = lambda text: text.decode(errors="replace")
            raw.execute("PRAGMA foreign_keys = on")
            return raw

        self.engine: Engine = create_engine(
            "sqlite://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            hide_parameters=True,
        )

    def value(self, given: Any) -> Any:
        if isinstance(given, tuple):
            return [self.value(one) for one in given]
        if isinstance(given, datetime.datetime):
            # In UTC and without a zone, as SQLite's own functions write it.
            return given.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(" ")
        if isinstance(given, datetime.date | uuid.UUID):
            return str(given)
        return given

    def begin(self, connection: Connection, *, read_only: bool, seconds: float) -> None:
        connection.exec_driver_sql(f"PRAGMA query_only = {'on' if read_only else 'off'}")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    def check(self, connection: Connection, statement: Statement) -> None:
        allowed = READS if statement.query.read_only else READS | WRITES
        refused: list[int] = []

        def judge(action: int, first: str | None, *_: object) -> int:
            if action in WRITES and (first or "").startswith("sqlite_"):
                # The schema itself, which is more than rows.
                action = sqlite3.SQLITE_ALTER_TABLE
            if action in allowed:
                return sqlite3.SQLITE_OK
            refused.append(action)
            return sqlite3.SQLITE_DENY

        compiled = statement.clause.bindparams(**statement.trial).compile(
            dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
        )
        values = [compiled.params[name] for name in compiled.positiontup or ()]
        raw: Any = connection.connection.driver_connection
        raw.set_authorizer(judge)
        try:
            # Prepares it, and steps through nothing.
            raw.execute(f"EXPLAIN {compiled.string}", values).close()
        except (sqlite3.Error, sqlite3.Warning) as problem:
            if self.waits(problem):
                raise
            if refused and set(refused) <= WRITES:
                raise WrongStatement("it changes data: say read_only = false") from None
            if refused:
                raise WrongStatement("it is more than a query or a change of rows") from None
            raise WrongStatement(str(problem)) from None
        finally:
            raw.set_authorizer(None)

    def interrupt(self, raw: Any) -> None:
        raw.interrupt()

    def waits(self, problem: Exception) -> bool:
        return getattr(problem, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))

    def failure(self, problem: Exception) -> Failure:
        name = getattr(problem, "sqlite_errorname", type(problem).__name__)
        reason = f"{name}: {problem}"
        if self.waits(problem):
            return Failure(CONTENDED, reason, again=True)
        if name.startswith("SQLITE_CONSTRAINT"):
            rule = RULES.get(name)
            return Failure(BROKEN_RULES[rule] if rule else UNFIT, reason)
        return Failure(UNFIT if isinstance(problem, sqlite3.DataError) else FAILED, reason)
