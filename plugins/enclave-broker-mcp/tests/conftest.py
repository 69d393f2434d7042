"""What the tests of MCP share: both event loops, and a server of the SDK."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from npm_programs import NpmPrograms, npm_programs
from provider_fixtures import SdkServer, sdk_server


@pytest.fixture(scope="session")
def other_server() -> Iterator[SdkServer]:
    """A server that is not the broker, for as long as there are tests."""
    with sdk_server() as running:
        yield running


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.fixture(scope="session")
def npm() -> NpmPrograms:
    """Where they can't be installed, it is tried once for all tests that need them."""
    return npm_programs()
