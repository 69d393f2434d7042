"""The store keeps the contract of session stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from enclave_broker_sqlite.file import SqliteFile, open_file
from enclave_broker_sqlite.store import SqliteStore
from sqlite_files import Configure

from enclave_broker_core.testing.stores import SessionStoreSuite

# More than a test claims by the way, and few enough to be filled by one.
MAX_CLAIMS = 50


class TestSqliteStore(SessionStoreSuite):
    max_claims = MAX_CLAIMS

    @pytest.fixture(autouse=True)
    def file_of_its_own(self, configure: Configure, opened: list[SqliteFile]) -> None:
        self.config = configure(max_claims=MAX_CLAIMS)
        self.opened = opened

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[SqliteStore]:
        async with open_file(self.config) as file:
            self.opened.append(file)
            yield SqliteStore(file)
