"""One server for all tests of a process; each test begins with empty tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_server import Server, postgres_server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def running() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """The server, with none of the sessions of the test before."""
    with running.connect() as connection:
        found = connection.execute("SELECT to_regclass('enclave_broker.sessions') IS NOT NULL")
        if found.fetchone() == (True,):
            connection.execute(
                "TRUNCATE enclave_broker.sessions, enclave_broker.deleted RESTART IDENTITY CASCADE"
            )
    return running
