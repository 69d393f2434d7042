"""Rate limits that a restart does not forget."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.models import Admission, Window
from enclave_broker_core.windows import ADMITTED

from .config import FileConfig
from .file import SqliteFile, open_file


class SqliteLimiter:
    """The Limiter whose windows are counted in this process and kept in the file.

    Its time never goes back: where the wall's clock was set back between two processes, it
    stands where the last one left it.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._windows = file.ledger.windows

    async def acquire(self, windows: Sequence[Window]) -> Admission:
        if not windows:
            return ADMITTED
        return await self._file.writer.do(partial(self._windows.acquire, windows))

    async def remaining(self, windows: Sequence[Window]) -> Sequence[int]:
        """How many calls each window has room for now."""
        return await self._file.writer.do(partial(self._windows.remaining, windows))

    async def check(self) -> None:
        await self._file.check()


@asynccontextmanager
async def open_limiter(config: FileConfig, context: OpenContext) -> AsyncIterator[SqliteLimiter]:
    async with open_file(config, context.base_dir) as file:
        yield SqliteLimiter(file)
