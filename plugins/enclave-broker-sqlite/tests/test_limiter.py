"""The limiter keeps the contract of limiters, and its windows outlast its process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from enclave_broker_sqlite.config import SqliteConfig
from enclave_broker_sqlite.file import open_file
from enclave_broker_sqlite.limiter import SqliteLimiter
from sqlite_files import Configure

from enclave_broker_core.errors import LimiterError
from enclave_broker_core.models import Window
from enclave_broker_core.testing.limiters import LimiterSuite

pytestmark = pytest.mark.anyio


class TestSqliteLimiter(LimiterSuite):
    seconds = 60.0
    leeway = 0.0

    @pytest.fixture(autouse=True)
    def file_of_its_own(self, configure: Configure) -> None:
        self.config = configure()

    @asynccontextmanager
    async def open_limiter(self) -> AsyncIterator[SqliteLimiter]:
        self.now = 0.0
        async with open_file(self.config, wall=lambda: 0.0, timer=lambda: self.now) as file:
            yield SqliteLimiter(file)

    async def advance(self, seconds: float) -> None:
        self.now += seconds


class Clock:
    def __init__(self, wall: float) -> None:
        self.wall = wall
        self.timer = 0.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.timer += seconds


@asynccontextmanager
async def limiter(config: SqliteConfig, clock: Clock) -> AsyncIterator[SqliteLimiter]:
    async with open_file(config, wall=lambda: clock.wall, timer=lambda: clock.timer) as file:
        yield SqliteLimiter(file)


LARGE = Window("all", "global", 6, 100.0)


async def test_windows_go_on_after_a_restart_to_the_very_end(configure: Configure) -> None:
    clock = Clock(1_000_000.0)
    small = Window("s", "session", 2, 10.0)
    async with limiter(configure(), clock) as before:
        assert await before.acquire([LARGE, small])
        clock.pass_(4)
        assert await before.acquire([LARGE, small])
        assert not await before.acquire([LARGE, small])
    # A process is away for some time.
    clock.pass_(3)
    async with limiter(configure(), clock) as after:
        assert list(await after.remaining([LARGE, small])) == [4, 0]
        refused = await after.acquire([LARGE, small])
        assert (refused.refused_by, refused.retry_after) == (small, 3.0)
        clock.pass_(3)
        assert await after.acquire([LARGE, small])
        assert not await after.acquire([LARGE, small])
        clock.pass_(89)
        assert list(await after.remaining([LARGE])) == [3]
        clock.pass_(1)
        assert list(await after.remaining([LARGE])) == [4]


async def test_a_clock_that_was_set_back_gives_no_room(configure: Configure) -> None:
    clock = Clock(1_000_000.0)
    async with limiter(configure(), clock) as before:
        for _ in range(6):
            assert await before.acquire([LARGE])
        clock.wall -= 5000
        assert not await before.acquire([LARGE])
        clock.pass_(50)
        assert list(await before.remaining([LARGE])) == [0]
    async with limiter(configure(), clock) as after:
        # It stands where the last call was admitted.
        assert (await after.acquire([LARGE])).retry_after == 100.0
        clock.pass_(99)
        assert not await after.acquire([LARGE])
        clock.pass_(1)
        assert list(await after.remaining([LARGE])) == [6]


async def test_what_a_wider_window_of_a_key_asks_for_is_kept_for_it(configure: Configure) -> None:
    """The two windows of the key are not in one call together, and are of different spans."""
    clock = Clock(1_000_000.0)
    brief, wide = Window("k", "a", 2, 1.0), Window("k", "b", 3, 1000.0)
    async with limiter(configure(), clock) as before:
        assert await before.acquire([brief])
        assert await before.acquire([wide])
        for _ in range(100):
            clock.pass_(2)
            await before.acquire([brief])
        clock.pass_(2)
        await before._file.writer.do(before._file.ledger.forget_over)
    async with limiter(configure(), clock) as after:
        assert list(await after.remaining([wide])) == [0]
        assert (await after.acquire([wide])).retry_after == 1000.0 - 6.0


async def test_what_is_refused_is_not_kept(configure: Configure) -> None:
    clock = Clock(1_000_000.0)
    full = Window("full", "session", 1, 100.0)
    async with limiter(configure(), clock) as before:
        assert await before.acquire([full])
        for _ in range(3):
            assert not await before.acquire([LARGE, full])
    async with limiter(configure(), clock) as after:
        assert list(await after.remaining([LARGE, full])) == [6, 0]


async def test_a_window_that_is_none_is_an_error_of_the_limiter(configure: Configure) -> None:
    clock = Clock(1_000_000.0)
    async with limiter(configure(), clock) as counting:
        with pytest.raises(LimiterError, match="max_calls"):
            await counting.acquire([LARGE, Window("none", "global", 0, 1.0)])
        assert list(await counting.remaining([LARGE])) == [6]
