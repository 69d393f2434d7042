"""The store, opened as a broker opens it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.session_store import SessionStore
from postgres_server import Server

from enclave_broker_postgres.config import PostgresConfig
from enclave_broker_postgres.opening import open_postgres


@asynccontextmanager
async def opened(server: Server, **settings: Any) -> AsyncIterator[SessionStore]:
    config = PostgresConfig.model_validate({"url": server.url(), **settings})
    async with open_postgres(config, OpenContext("store")) as store:
        yield store
