from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.store import MemoryStore, open_store

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.stores import SessionStoreSuite


class TestMemoryStore(SessionStoreSuite):
    max_claims = 1000

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[MemoryStore]:
        async with open_store(MemoryStoreConfig(), OpenContext("store")) as store:
            yield store
