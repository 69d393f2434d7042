"""The suites for shared and durable stores, on one that keeps its contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared_memory import Replica, SharedMemory

from enclave_broker_core.testing.command_suite import SharedStoreSuite
from enclave_broker_core.testing.durable_store_suite import DurableStoreSuite


class MemoryBackend:
    def __init__(self) -> None:
        self._shared = SharedMemory()

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[Replica]:
        yield Replica(self._shared)

    async def silence(self, store: Replica) -> None:
        store.cut_off()


class TestSharedMemory(SharedStoreSuite, DurableStoreSuite):
    @asynccontextmanager
    async def open_backend(self) -> AsyncIterator[MemoryBackend]:
        yield MemoryBackend()
