"""The tables, and the steps that lead to them from each version before."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from enclave_broker_core.errors import ConfigError

# "EncB": what says that a file is one of ours.
APPLICATION = 0x456E6342

_FIRST = """
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    principal TEXT,
    tenant TEXT,
    expires_at REAL NOT NULL,
    ended_at REAL,
    state TEXT,
    record BLOB NOT NULL
) STRICT;
CREATE INDEX sessions_of ON sessions (principal, tenant, expires_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_open ON sessions (expires_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_at, id) WHERE ended_at IS NOT NULL;

-- Sessions that were deleted. What is left of them is removed bit by bit, then they are
-- "cleared", and remembered for those who read lists page by page.
CREATE TABLE gone (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    cleared INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX gone_id ON gone (id, number);
CREATE INDEX gone_due ON gone (number) WHERE cleared = 0;

-- The latest events in the order of their commits, each with the finished call that came with
-- it. Now and then all of them move on to the two tables below.
CREATE TABLE recent (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    payload BLOB NOT NULL,
    n INTEGER,
    call BLOB,
    arguments BLOB
) STRICT;
CREATE TABLE events (
    session INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE calls (
    session INTEGER NOT NULL,
    n INTEGER NOT NULL,
    call BLOB NOT NULL,
    arguments BLOB NOT NULL,
    PRIMARY KEY (session, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE claims (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    key BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    expires_at REAL NOT NULL,
    settled INTEGER,
    answer BLOB,
    UNIQUE (session, key)
) STRICT;
CREATE INDEX claims_due ON claims (expires_at);

CREATE TABLE saved (session INTEGER PRIMARY KEY, state BLOB NOT NULL) STRICT;
CREATE TABLE answers (
    session INTEGER NOT NULL,
    call TEXT NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (session, call)
) STRICT;

-- The admitted calls of one commit each: pairs of a time and the id of the windows that the
-- call counted in. No window of a row is longer than 2^span seconds.
CREATE TABLE admissions (
    span INTEGER NOT NULL,
    id INTEGER NOT NULL,
    until REAL NOT NULL,
    calls BLOB NOT NULL,
    PRIMARY KEY (span, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE window_sets (id INTEGER PRIMARY KEY, windows TEXT NOT NULL) STRICT;
"""

MIGRATIONS: Sequence[str] = (_FIRST,)
"""What leads from each version to the next; a file that is new has version 0."""


def version_of(sql: sqlite3.Connection) -> int:
    """The version of the file's tables; 0 when it has none. ConfigError for what is not ours."""
    tables = {name for (name,) in sql.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    if not tables:
        return 0
    [application] = sql.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION or "migrations" not in tables:
        raise ConfigError("it is a database of another program: give the broker a file of its own")
    [version] = sql.execute("SELECT max(version) FROM migrations").fetchone()
    return int(version or 0)


def require_known(sql: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> int:
    """The version of the tables; ConfigError when it is newer than the newest known here."""
    version = version_of(sql)
    if version > len(migrations):
        raise ConfigError(
            f"it was written by a newer version (its tables are version {version}, and this"
            f" knows {len(migrations)}): use that one, or give this one a file of its own"
        )
    return version


def migrate(sql: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the tables to the newest version, in one transaction."""
    version = require_known(sql, migrations)
    if version == len(migrations):
        return
    sql.execute("BEGIN IMMEDIATE")
    try:
        if version == 0:
            sql.execute(f"PRAGMA application_id = {APPLICATION}")
            sql.execute(
                "CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied_at REAL NOT NULL)"
                " STRICT"
            )
        for number, script in enumerate(migrations[version:], version + 1):
            for statement in _statements(script):
                sql.execute(statement)
            sql.execute("INSERT INTO migrations VALUES (?, ?)", (number, time.time()))
        sql.execute("COMMIT")
    except BaseException:
        if sql.in_transaction:
            sql.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """The statements of a script: ``executescript`` would commit before the first."""
    found, rest = [], ""
    for line in script.splitlines(keepends=True):
        rest += line
        if sqlite3.complete_statement(rest):
            found.append(rest)
            rest = ""
    return found
