"""A collector, and an environment that says nothing of OpenTelemetry."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from collector import Collector, collector


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def got() -> Iterator[Collector]:
    """What the collector got; its address is ``got.url``."""
    with collector() as made:
        yield made
