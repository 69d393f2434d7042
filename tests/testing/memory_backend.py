"""The Backend of the suites for what stores can do besides: a store in memory with all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from enclave_broker_memory.limiter import MemoryLimiter
from shared_memory import Replica, SharedMemory

from enclave_broker_core.events import Draft
from enclave_broker_core.models import Admission, Window


class CountingMemory(SharedMemory):
    def __init__(self) -> None:
        super().__init__()
        self.limiter = MemoryLimiter()


class AdmittingReplica(Replica):
    """An AdmittingStore as well."""

    def __init__(self, backend: CountingMemory) -> None:
        super().__init__(backend)
        self.limiter = backend.limiter

    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        await self.append(session_id, event)
        return await self.limiter.acquire(windows)


class MemoryBackend:
    """``kind`` is what each of its replicas is."""

    def __init__(self, kind: type[AdmittingReplica] = AdmittingReplica) -> None:
        self._kind = kind
        self._shared = CountingMemory()

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[AdmittingReplica]:
        yield self._kind(self._shared)

    async def silence(self, store: AdmittingReplica) -> None:
        store.cut_off()
