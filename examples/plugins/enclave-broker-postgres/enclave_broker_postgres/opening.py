"""How the store is opened. The driver is imported no earlier: a list of plugins needs none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.session_store import SessionStore

from .config import PostgresConfig


@asynccontextmanager
async def open_postgres(
    config: PostgresConfig, context: OpenContext
) -> AsyncIterator[SessionStore]:
    """A store on the server that the table names; StoreError when there can't be one."""
    from .connections import open_connections
    from .ownership import open_ownership
    from .store import PostgresStore

    async with (
        open_connections(config) as connections,
        open_ownership(config, connections) as ownership,
    ):
        store = PostgresStore(config, connections, ownership)
        await store.end_lost()
        yield store
