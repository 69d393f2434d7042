"""The limiter suite finds what is wrong with a limiter, and says so in the test for it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from bad_limiters import KNOWN_BAD, FixedWindows
from enclave_broker_memory.limiter import MemoryLimiter

from enclave_broker_core.contracts import Limiter
from enclave_broker_core.testing.limiters import LimiterSuite

pytest_plugins = ["pytester"]


Failures = Callable[[object], Awaitable[set[str]]]


class Suite(LimiterSuite):
    seconds = 64.0
    leeway = 0.0

    def __init__(self, limiter: type[MemoryLimiter], now: float = 1000.0) -> None:
        self._limiter = limiter
        self._start = now

    @asynccontextmanager
    async def open_limiter(self) -> AsyncIterator[Limiter]:
        self.now = self._start
        yield self._limiter(lambda: self.now)

    async def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.anyio
@pytest.mark.parametrize(("limiter", "found_by"), KNOWN_BAD[LimiterSuite].items())
async def test_the_suite_finds(
    limiter: type[MemoryLimiter], found_by: set[str], failures: Failures
) -> None:
    assert found_by <= await failures(Suite(limiter))


@pytest.mark.anyio
@pytest.mark.parametrize("start", [0.0, 1.0, 31.0, 32.0, 33.0, 63.0])
async def test_the_suite_finds_fixed_windows_wherever_they_begin(
    start: float, failures: Failures
) -> None:
    assert "windows_slide" in await failures(Suite(FixedWindows, 6400 + start))


@pytest.mark.anyio
async def test_the_suite_finds_nothing_else(failures: Failures) -> None:
    assert await failures(Suite(MemoryLimiter)) == set()


def test_a_subclass_is_collected_and_runs_on_the_loops_that_it_names(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        from contextlib import asynccontextmanager

        from enclave_broker_core.models import Admission
        from enclave_broker_core.testing.limiters import LimiterSuite

        class Generous:
            async def acquire(self, windows):
                return Admission()

            async def check(self):
                pass

        class TestGenerous(LimiterSuite):
            loops = ("trio",)
            leeway = 0.0

            @asynccontextmanager
            async def open_limiter(self):
                yield Generous()

            async def advance(self, seconds):
                pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] >= 10
    assert outcomes["passed"] >= 3
    counted = "test_max_calls_are_admitted_and_no_more"
    result.stdout.fnmatch_lines([f"FAILED *::TestGenerous::{counted}[[]trio[]]*"])
    result.stdout.no_fnmatch_line("*asyncio*")
