"""The suites for what stores can do besides let a good one pass and find the known faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import bad_admissions
import bad_commands
import bad_durable_stores
import bad_leases
import pytest
from jumping import jumping
from memory_backend import AdmittingReplica, MemoryBackend

from enclave_broker_core.testing.admission_suite import AdmissionSuite
from enclave_broker_core.testing.command_suite import SharedStoreSuite
from enclave_broker_core.testing.durable_store_suite import DurableStoreSuite
from enclave_broker_core.testing.suite import Suite


class MemorySuite(SharedStoreSuite, DurableStoreSuite, AdmissionSuite):
    kind: type[AdmittingReplica] = AdmittingReplica

    @asynccontextmanager
    async def open_backend(self) -> AsyncIterator[MemoryBackend]:
        yield MemoryBackend(self.kind)


class TestSharedMemory(MemorySuite):
    """Without a fault all tests pass."""


FAULTS = [
    (suite, kind, found_by)
    for module in (bad_admissions, bad_commands, bad_durable_stores, bad_leases)
    for suite, faults in module.KNOWN_BAD.items()
    for kind, found_by in faults.items()
]


@jumping
@pytest.mark.anyio
@pytest.mark.parametrize(("of", "kind", "found_by"), FAULTS)
async def test_the_suite_finds(
    of: type[Suite],
    kind: type[AdmittingReplica],
    found_by: set[str],
    failures: Callable[..., Awaitable[set[str]]],
) -> None:
    suite = MemorySuite()
    suite.kind = kind
    assert await failures(suite, of) == found_by
