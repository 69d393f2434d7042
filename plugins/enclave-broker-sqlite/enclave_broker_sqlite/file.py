"""One file, open: who writes and who reads it, and which store holds which session."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread

from enclave_broker_core.errors import ConfigError

from .clock import Timer
from .config import FileConfig, SqliteConfig
from .connecting import connected, locked
from .failures import meaning
from .holding import Holders
from .ledger import Ledger
from .reading import Reader
from .wakeups import Wakeups
from .writer import Writer


class SqliteFile:
    """What the stores and limiters on one file share; there is one process that has it open."""

    def __init__(self, writer: Writer, reader: Reader, ledger: Ledger, wakeups: Wakeups) -> None:
        self.writer = writer
        self.reader = reader
        self.ledger = ledger
        self.wakeups = wakeups
        self.holders = Holders()

    async def check(self) -> None:
        """StoreError when the file can't be read, or no transaction be made."""
        await self.writer.do(_nothing)

    @property
    def idle(self) -> bool:
        """Whether nothing that was asked of it is under way."""
        return self.writer.idle and self.reader.idle


def _nothing() -> None:
    return None


def _ledger(
    path: Path, sql: sqlite3.Connection, config: FileConfig, wall: Timer, timer: Timer
) -> Ledger:
    bounds = config if isinstance(config, SqliteConfig) else SqliteConfig(path=config.path)
    try:
        return Ledger(sql, bounds, wall, timer)
    except sqlite3.Error as problem:
        raise ConfigError(f"the file {path}: {meaning(problem)}") from problem


@asynccontextmanager
async def open_file(
    config: FileConfig,
    base_dir: str = ".",
    *,
    wall: Timer = time.time,
    timer: Timer = time.monotonic,
) -> AsyncIterator[SqliteFile]:
    """Open the file for this process alone. ConfigError says what is wrong with it.

    ``wall`` and ``timer`` are the clocks of windows and claims: see ``Clock``.
    """
    path = (Path(base_dir) / config.path).absolute()
    async with locked(path, config.wait):
        writing, reading = await connected(path, config)
        reader = Reader(reading, str(path))
        try:
            ledger = await to_thread.run_sync(_ledger, path, writing, config, wall, timer)
        except BaseException:
            writing.close()
            await reader.close()
            raise
        wakeups = Wakeups()
        writer = Writer(ledger, str(path), wakeups.wake)
        try:
            yield SqliteFile(writer, reader, ledger, wakeups)
        finally:
            # The last to close the file writes what is in its log of writes into it.
            await reader.close()
            await writer.close()
