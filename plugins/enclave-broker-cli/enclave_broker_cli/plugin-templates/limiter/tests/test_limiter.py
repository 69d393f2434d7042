"""The limiter by itself: the suite of its contract, then what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from enclave_broker_core.contracts import Limiter
from enclave_broker_core.errors import LimiterError
from enclave_broker_core.models import Admission, Window
from enclave_broker_core.testing.limiters import LimiterSuite
from pydantic import ValidationError

from enclave_broker_example_limiter.config import LimiterConfig
from enclave_broker_example_limiter.limiter import SlidingLimiter


class TestSlidingLimiter(LimiterSuite):
    # A clock that is set by the tests: nothing waits, and windows are tried up to their ends.
    seconds = 64.0
    leeway = 0.0

    @asynccontextmanager
    async def open_limiter(self) -> AsyncIterator[Limiter]:
        self.now = 1000.0
        yield SlidingLimiter(LimiterConfig(), clock=lambda: self.now)

    async def advance(self, seconds: float) -> None:
        self.now += seconds


def window(key: str, seconds: float = 60.0) -> Window:
    return Window(key, "session", 1, seconds)


@pytest.mark.anyio
async def test_keys_are_bounded_and_those_without_calls_make_room() -> None:
    now = 1000.0
    limiter = SlidingLimiter(LimiterConfig(max_keys=2), clock=lambda: now)
    assert await limiter.acquire([window("a"), window("b", 90.0)])
    with pytest.raises(LimiterError):
        await limiter.acquire([window("c")])
    now += 60
    assert await limiter.acquire([window("c")])
    assert await limiter.acquire([window("b", 90.0)]) == Admission(window("b", 90.0), 30.0)
    with pytest.raises(LimiterError):
        await limiter.acquire([window("d"), window("e")])


def test_a_wrong_configuration_is_refused() -> None:
    with pytest.raises(ValidationError):
        LimiterConfig(max_keys=0)
