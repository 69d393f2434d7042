"""What the tests of the monty plugin share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import MontyRuntime, open_monty

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.hosts import RecordingHost


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes long, and runs only with -m soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "soak" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("soak") is not None:
                item.add_marker(pytest.mark.skip(reason="runs only with -m soak"))


OpenMonty = Callable[..., AbstractAsyncContextManager[MontyRuntime]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def monty() -> OpenMonty:
    """Opens the runtime with the given configuration and a bound on the test's time."""

    @asynccontextmanager
    async def opened(**config: Any) -> AsyncIterator[MontyRuntime]:
        whole = MontyConfig(**({"workers": 2} | config))
        with anyio.fail_after(60):
            async with open_monty(whole, OpenContext("runtime")) as runtime:
                yield runtime

    return opened


@pytest.fixture
def host() -> RecordingHost:
    return RecordingHost()
