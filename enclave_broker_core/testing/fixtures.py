"""Fixtures for tests of plugins: ``pytest_plugins = ["enclave_broker_core.testing.fixtures"]``.

They are asked for by name, and come to nobody who did not ask. Tests that await are marked
``pytest.mark.anyio`` and run on each event loop that ``anyio_backend`` names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .faults import Faults
from .harness import BrokerHarness, open_harness

OpenHarness = Callable[..., AbstractAsyncContextManager[BrokerHarness]]


@pytest.fixture
def broker_config() -> Any:
    """The configuration of ``harness``, as ``open_harness`` takes it; override it."""
    return None


@pytest.fixture
def broker_plugins() -> Sequence[object]:
    """The plugins of ``harness`` besides the installed ones; override it."""
    return ()


@pytest.fixture
def broker_faults() -> Mapping[str, Faults]:
    """What goes wrong with the parts of ``harness``, by their places; override it."""
    return {}


@pytest.fixture
def harness_opener(tmp_path: Path) -> OpenHarness:
    """``open_harness`` in the test's own folder: ``async with harness_opener(config, plugin)``."""
    return partial(open_harness, folder=tmp_path)


@pytest.fixture
async def harness(
    anyio_backend: Any,
    harness_opener: OpenHarness,
    broker_config: Any,
    broker_plugins: Sequence[object],
    broker_faults: Mapping[str, Faults],
) -> AsyncIterator[BrokerHarness]:
    """A broker of ``broker_config`` and ``broker_plugins``, open for the test."""
    async with harness_opener(broker_config, *broker_plugins, faults=broker_faults) as opened:
        yield opened
