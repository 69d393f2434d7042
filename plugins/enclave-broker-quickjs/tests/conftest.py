"""What the tests of the quickjs plugin share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
from enclave_broker_quickjs.config import QuickJSConfig
from enclave_broker_quickjs.runtime import QuickJSRuntime, open_quickjs

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.hosts import RecordingHost

OpenQuickJS = Callable[..., AbstractAsyncContextManager[QuickJSRuntime]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def quickjs() -> OpenQuickJS:
    """Opens the runtime with the given configuration and a bound on the test's time."""

    @asynccontextmanager
    async def opened(**config: Any) -> AsyncIterator[QuickJSRuntime]:
        whole = QuickJSConfig(**({"workers": 1} | config))
        with anyio.fail_after(60):
            async with open_quickjs(whole, OpenContext("runtime")) as runtime:
                yield runtime

    return opened


@pytest.fixture
def host() -> RecordingHost:
    return RecordingHost()
