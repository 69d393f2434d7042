"""What SQLite's errors mean to whoever runs the broker: what happened, and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType

from enclave_broker_core.errors import StoreError

RETRY_AFTER = 1.0

_FULL = "there is no room left for it (the disk is full, or max_bytes is reached): make room"
_READ_ONLY = "it can't be written: give this process the right to write it and its directory"
_DAMAGED = "it is damaged: stop the broker, and restore the file or move it away to begin anew"
_LOCKED = "another program has locked it: let nothing else write to the file"
_IO = "it can't be read or written: look at the disk, and at the system's log"

_MEANINGS: Mapping[int, str] = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: _FULL,
        sqlite3.SQLITE_READONLY: _READ_ONLY,
        sqlite3.SQLITE_PERM: _READ_ONLY,
        sqlite3.SQLITE_CORRUPT: _DAMAGED,
        sqlite3.SQLITE_NOTADB: "it is no SQLite database: give the broker a file of its own",
        sqlite3.SQLITE_BUSY: _LOCKED,
        sqlite3.SQLITE_LOCKED: _LOCKED,
        sqlite3.SQLITE_IOERR: _IO,
        sqlite3.SQLITE_CANTOPEN: "it can't be opened: its directory must be there, and be readable",
    }
)


def meaning(problem: BaseException) -> str:
    code = getattr(problem, "sqlite_errorcode", None)
    known = None if code is None else _MEANINGS.get(code & 0xFF)
    return f"{known} ({problem})" if known else str(problem) or type(problem).__name__


def is_of_file(problem: BaseException) -> bool:
    """Whether it is the file that fails, and not what was asked for."""
    code = getattr(problem, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _MEANINGS


def failure(path: str, problem: BaseException) -> StoreError:
    """The error of what was asked of the file and has not happened."""
    return StoreError(f"the file {path}: {meaning(problem)}", retry_after=RETRY_AFTER)
