"""Opens the file: for this process alone, with the tables of this version."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread
from filelock import FileLock, Timeout

from enclave_broker_core.errors import ConfigError

from .config import FileConfig
from .failures import meaning
from .schema import migrate, require_known

# Strict tables.
OLDEST_SQLITE = (3, 37, 0)

# Pages: as many as a few hundred commits write, copied to the file itself together.
_WAL_PAGES = 2000
_BUSY_SECONDS = 5.0
_POLL = 0.05

Connections = tuple[sqlite3.Connection, sqlite3.Connection]
"""One that writes, and one that only reads."""


@asynccontextmanager
async def locked(path: Path, wait: float) -> AsyncIterator[None]:
    """Hold the lock file beside the file. The system lets it go when this process ends.

    ConfigError when another has it for ``wait`` seconds.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"the file {path} needs a directory that is not there: make it first")
    lock = FileLock(f"{path}.lock", mode=0o600, thread_local=False, fallback_to_soft=False)
    until = time.monotonic() + wait
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            if time.monotonic() >= until:
                raise ConfigError(
                    f"the file {path} is in use by another broker: stop that one, or give this"
                    " one a file of its own. Brokers that share their sessions need the store"
                    " of enclave-broker-redis"
                ) from None
        except OSError as problem:
            raise ConfigError(
                f"the file {path} can't be locked by {path}.lock: {problem.strerror}."
                " The broker needs a directory that it may write, on a local disk"
            ) from problem
        await anyio.sleep(_POLL)
    try:
        yield
    finally:
        lock.release()


async def connected(path: Path, config: FileConfig) -> Connections:
    """Both connections to the file. ConfigError says what is wrong with it.

    Each is for one thread at a time, but not for the same one.
    """
    return await to_thread.run_sync(_connected, path, config)


def _connected(path: Path, config: FileConfig) -> Connections:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigError(
            f"SQLite is {sqlite3.sqlite_version} here and has to be 3.37 or newer:"
            " use a Python that is built with one"
        )
    writing: sqlite3.Connection | None = None
    try:
        _require_file(path)
        writing = _connection(path)
        _prepare(writing, config)
        reading = _connection(path)
        reading.execute("PRAGMA query_only = 1")
    except BaseException as problem:
        if writing is not None:
            writing.close()
        if isinstance(problem, sqlite3.Error | OSError | ConfigError):
            raise ConfigError(f"the file {path}: {meaning(problem)}") from problem
        raise
    return writing, reading


def _require_file(path: Path) -> None:
    """What is in the sessions is nobody else's business; the files beside it follow its mode."""
    if path.is_dir():
        raise ConfigError("it is a directory: name a file in it")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as problem:
        raise ConfigError(f"it can't be opened for writing: {problem.strerror}") from problem


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


def _prepare(sql: sqlite3.Connection, config: FileConfig) -> None:
    # Nothing is changed in a file that is not ours, or too new.
    require_known(sql)
    [mode] = sql.execute("PRAGMA journal_mode = wal").fetchone()
    if mode != "wal":
        raise ConfigError("it can't have a write-ahead log: it must be on a local disk")
    sql.execute(f"PRAGMA synchronous = {config.synchronous}")
    sql.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    # The log of writes shrinks to as much again after a large one.
    sql.execute(f"PRAGMA journal_size_limit = {2 * _WAL_PAGES * 4096}")
    [page] = sql.execute("PRAGMA page_size").fetchone()
    pages = 2**32 - 2 if config.max_bytes is None else config.max_bytes // page
    sql.execute(f"PRAGMA max_page_count = {pages}")
    migrate(sql)
