"""The store by itself: the suite of its contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from enclave_broker_core.session_store import SessionStore
from enclave_broker_core.testing.stores import SessionStoreSuite
from opened import opened
from postgres_server import Server


class TestPostgresStore(SessionStoreSuite):
    loops = ("asyncio",)
    max_claims = 50

    @pytest.fixture(autouse=True)
    def _server(self, server: Server) -> None:
        self.server = server

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[SessionStore]:
        async with opened(self.server, max_claims=self.max_claims) as store:
            yield store
