"""These tests open hundreds of brokers: what is installed is looked up once for a module."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from enclave_broker_core import plugins


@pytest.fixture(autouse=True, scope="module")
def entry_points_are_read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "_entry_points", functools.cache(plugins._entry_points))
        yield
