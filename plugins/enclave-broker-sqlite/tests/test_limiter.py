"""The limiter keeps the contract of limiters, and its windows outlast its process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from enclave_broker_sqlite.file import open_file
from enclave_broker_sqlite.limiter import SqliteLimiter
from sqlite_files import Configure

from enclave_broker_core.testing.limiters import LimiterSuite


class TestSqliteLimiter(LimiterSuite):
    seconds = 60.0
    leeway = 0.0

    @pytest.fixture(autouse=True)
    def file_of_its_own(self, configure: Configure) -> None:
        self.config = configure()

    @asynccontextmanager
    async def open_limiter(self) -> AsyncIterator[SqliteLimiter]:
        self.now = 0.0
        async with open_file(self.config, wall=lambda: 0.0, timer=lambda: self.now) as file:
            yield SqliteLimiter(file)

    async def advance(self, seconds: float) -> None:
        self.now += seconds
