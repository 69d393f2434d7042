"""What the tests of the suites share: which tests of a suite a part fails."""

from __future__ import annotations

import gc
from collections.abc import Awaitable
from typing import Protocol

import pytest

from enclave_broker_core.testing.suite import Suite


class Failures(Protocol):
    def __call__(self, suite: object, of: type[Suite] | None = None) -> Awaitable[set[str]]:
        """The names of the tests that fail, but for ``test_``; only those that ``of`` has."""


@pytest.fixture
def failures() -> Failures:
    """Runs all tests of a suite, or those that one of its bases brings itself."""

    async def run(suite: object, of: type[Suite] | None = None) -> set[str]:
        failed: set[str] = set()
        gc.freeze()  # else the collection below goes through all that there was before
        for name in dir(suite) if of is None else vars(of):
            if name.startswith("test_"):
                try:
                    await getattr(suite, name)()
                except pytest.skip.Exception:
                    continue
                except (Exception, pytest.fail.Exception, BaseExceptionGroup):
                    failed.add(name.removeprefix("test_"))
        gc.collect()  # coroutines that nobody awaits tell of it now, while that is ignored
        gc.unfreeze()
        return failed

    return run
