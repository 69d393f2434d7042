"""The databases of the tests: a file of each test's own, and one server for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crm import TABLES, sqlite_crm


@pytest.fixture
def anyio_backend() -> str:
    """The suite, and the tests of what waits, run on trio too."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Any]:
    """A server; it is the one of enclave-broker-postgres, whose tests stand beside these."""
    servers = pytest.importorskip(
        "postgres_server", reason="it needs the tests of enclave-broker-postgres beside it"
    )
    with servers.postgres_server() as server:
        yield server


@pytest.fixture
def postgresql_crm(postgresql: Any) -> str:
    with postgresql.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS customers")
        connection.execute(TABLES)
    url: str = postgresql.url().replace("postgresql:", "postgresql+psycopg:")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a CRM in each of the databases."""
    if request.param == "sqlite":
        return sqlite_crm(tmp_path)
    found: str = request.getfixturevalue("postgresql_crm")
    return found
