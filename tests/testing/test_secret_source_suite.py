"""The suite for secret sources finds what is wrong with one, in the test for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
from bad_secret_sources import KNOWN_BAD, Vault

from enclave_broker_core.contracts import SecretSource
from enclave_broker_core.testing.secret_sources import SecretSourceSuite

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:coroutine")]


class Suite(SecretSourceSuite):
    known: ClassVar = {"TOKEN": "tok-93f1a2b4", "KEY": "key-5b77c0d8"}

    def __init__(self, source: type[Vault]) -> None:
        self._source = source

    @asynccontextmanager
    async def open_source(self) -> AsyncIterator[SecretSource]:
        self._values = dict(self.known)
        yield self._source(self._values)

    @asynccontextmanager
    async def open_broken_source(self) -> AsyncIterator[SecretSource]:
        yield self._source(dict(self.known), broken=True)

    async def rotate(self, name: str, value: str) -> None:
        self._values[name] = value


@pytest.mark.parametrize(("source", "found_by"), KNOWN_BAD[SecretSourceSuite].items())
async def test_the_suite_finds(
    source: type[Vault], found_by: set[str], failures: Callable[[object], Awaitable[set[str]]]
) -> None:
    assert found_by <= await failures(Suite(source))


async def test_the_suite_finds_nothing_else(
    failures: Callable[[object], Awaitable[set[str]]],
) -> None:
    assert await failures(Suite(Vault)) == set()
