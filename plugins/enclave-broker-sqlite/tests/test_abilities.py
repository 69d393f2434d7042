"""What the store promises besides: held sessions, durable runs, and admissions.

A file belongs to one process, so that the replicas of these suites are stores of one process
on one open file. What holds between processes is tested with processes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from enclave_broker_sqlite.file import SqliteFile, open_file
from enclave_broker_sqlite.store import SqliteStore
from sqlite_files import Configure

from enclave_broker_core.testing.admission_suite import AdmissionSuite
from enclave_broker_core.testing.durable_store_suite import DurableStoreSuite

LEASE = 0.05


class Replica(SqliteStore):
    silent = False

    async def _open_ids(self) -> Sequence[str]:
        found = await super()._open_ids()
        # It may have been silenced meanwhile.
        return [] if self.silent else found


class OneFile:
    """The Backend of the suites."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[Replica]:
        yield Replica(self._file, LEASE)

    async def silence(self, store: Replica) -> None:
        store.silent = True
        self._file.holders.give_up(store)


class TestSqliteStore(DurableStoreSuite, AdmissionSuite):
    @pytest.fixture(autouse=True)
    def file_of_its_own(self, configure: Configure) -> None:
        self.config = configure()

    @asynccontextmanager
    async def open_backend(self) -> AsyncIterator[OneFile]:
        async with open_file(self.config) as file:
            yield OneFile(file)
