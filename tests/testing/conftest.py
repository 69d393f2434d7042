"""What the tests of the suites share: which tests of a suite a part fails."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable

import pytest

Failures = Callable[[object], Awaitable[set[str]]]


@pytest.fixture
def failures() -> Failures:
    """Runs all tests of a suite; the names of those that fail, but for ``test_``."""

    async def run(suite: object) -> set[str]:
        failed: set[str] = set()
        gc.freeze()  # else the collection below goes through all that there was before
        for name in dir(suite):
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
