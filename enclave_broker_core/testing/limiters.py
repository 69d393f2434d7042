"""The conformance suite for limiters."""

from __future__ import annotations

import inspect
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, ClassVar

import anyio
import pytest

from enclave_broker_core.contracts import Limiter
from enclave_broker_core.models import Admission, Window

from .samples import at_once
from .suite import Suite


async def admitted(limiter: Limiter, *windows: Window, tries: int) -> int:
    """How many of so many calls, one after the other, are admitted."""
    return sum([(await limiter.acquire(windows)).allowed for _ in range(tries)])


def known(answer: Admission | Exception) -> Admission:
    """The answer of a call that was made at once with others, or its error raised."""
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.mark.anyio
class LimiterSuite(Suite):
    """Every sentence of the Limiter contract as a test.

    Subclass it as ``class TestMyLimiter(LimiterSuite)`` and override ``open_limiter``, which
    gives each test a limiter that has counted nothing yet. How time passes is up to the
    subclass: as it stands here ``advance`` really waits, windows last ``seconds``, and up to
    ``leeway`` seconds may pass unasked between two steps of a test, on a slow machine or on
    the way to a server. A limiter whose clock can be set overrides ``advance`` and has no
    ``leeway``: then windows are tested up to their very ends, and nothing waits::

        class TestMyLimiter(LimiterSuite):
            seconds = 60.0
            leeway = 0.0

            @asynccontextmanager
            async def open_limiter(self):
                self.now = 1000.0
                yield MyLimiter(clock=lambda: self.now)

            async def advance(self, seconds):
                self.now += seconds
    """

    seconds: ClassVar[float] = 1.0
    leeway: ClassVar[float] = 0.4

    def open_limiter(self) -> AbstractAsyncContextManager[Limiter]:
        raise NotImplementedError("the subclass says how its limiter is opened")

    async def advance(self, seconds: float) -> None:
        """Let at least so much time pass for the limiter: exactly so much without leeway."""
        await anyio.sleep(seconds)

    def window(self, max_calls: int, key: str = "k", parts: float = 1.0) -> Window:
        """A window of so many times ``seconds``."""
        return Window(key, f"tool {key}:*", max_calls, parts * self.seconds)

    def remaining_of(self, limiter: Any) -> Any:
        """The limiter's ``remaining``, which it need not have: then the test is left out."""
        if not hasattr(limiter, "remaining"):
            pytest.skip("this limiter has no remaining()")
        return limiter.remaining

    def close_to(self, answer: Admission, seconds: float, *, since_late: bool = False) -> bool:
        """Whether ``retry_after`` is the time that is left when ``seconds`` were at first.

        ``since_late`` when what it is counted from came after a wait, and may have been late.
        """
        rounding = self.seconds / 1000
        most = seconds + rounding + (self.leeway if since_late else 0.0)
        return seconds - self.leeway - rounding <= answer.retry_after <= most

    async def test_every_method_is_a_coroutine_function(self) -> None:
        async with self.open_limiter() as limiter:
            sync = [
                name
                for name in ("acquire", "check", "remaining")
                if hasattr(limiter, name) or name != "remaining"
                if not inspect.iscoroutinefunction(getattr(limiter, name))
            ]
            assert sync == []

    async def test_check_is_content_with_a_limiter_that_works(self) -> None:
        async with self.open_limiter() as limiter:
            await limiter.check()

    async def test_max_calls_are_admitted_and_no_more(self) -> None:
        async with self.open_limiter() as limiter:
            only = self.window(3)
            answers = [await limiter.acquire([only]) for _ in range(5)]
            assert answers[:3] == [Admission()] * 3
            assert [answer.allowed for answer in answers[3:]] == [False, False]
            assert [answer.refused_by for answer in answers[3:]] == [only, only]

    async def test_without_windows_all_is_admitted(self) -> None:
        async with self.open_limiter() as limiter:
            assert await limiter.acquire([]) == Admission()
            assert await limiter.acquire(()) == Admission()

    async def test_a_window_ends_when_its_time_is_over_and_not_before(self) -> None:
        async with self.open_limiter() as limiter:
            only = self.window(1)
            short = max(self.leeway, self.seconds / 1024)
            assert await limiter.acquire([only])
            await self.advance(self.seconds - short)
            assert not await limiter.acquire([only])
            await self.advance(short)
            assert await limiter.acquire([only]) == Admission()

    async def test_windows_slide(self) -> None:
        """What fits into two fixed windows, each within its limit, is too much here."""
        async with self.open_limiter() as limiter:
            only, half = self.window(4), self.seconds / 2
            assert await admitted(limiter, only, tries=1) == 1
            await self.advance(half)
            assert await admitted(limiter, only, tries=9) == 3
            await self.advance(half)
            assert await admitted(limiter, only, tries=9) == 1
            await self.advance(half)
            assert await admitted(limiter, only, tries=9) == 3

    async def test_a_refusal_says_in_how_many_seconds_there_is_room(self) -> None:
        async with self.open_limiter() as limiter:
            only, half = self.window(2), self.seconds / 2
            assert await limiter.acquire([only])
            await self.advance(half)
            assert await limiter.acquire([only])
            answer = await limiter.acquire([only])
            assert self.close_to(answer, half)
            await self.advance(answer.retry_after)
            assert await limiter.acquire([only]) == Admission()
            # Now the call of the middle is the oldest.
            answer = await limiter.acquire([only])
            assert self.close_to(answer, half, since_late=True)
            await self.advance(answer.retry_after)
            assert await limiter.acquire([only]) == Admission()

    async def test_a_refusal_names_the_window_that_has_room_last(self) -> None:
        async with self.open_limiter() as limiter:
            soon = self.window(1, "soon", 1)
            late = self.window(1, "late", 3)
            free = self.window(99, "free", 9)
            assert await limiter.acquire([soon, late])
            for order in ([soon, late, free], [free, late, soon], [late, free, soon]):
                answer = await limiter.acquire(order)
                assert answer.refused_by == late
                assert self.close_to(answer, 3 * self.seconds)
            answer = await limiter.acquire([free, soon])
            assert answer.refused_by == soon
            assert self.close_to(answer, self.seconds)

    async def test_a_call_counts_in_every_window(self) -> None:
        async with self.open_limiter() as limiter:
            windows = [self.window(count, key) for count, key in ((4, "a"), (3, "b"), (5, "c"))]
            assert await admitted(limiter, *windows, tries=2) == 2
            assert [await admitted(limiter, window, tries=9) for window in windows] == [2, 1, 3]

    async def test_a_call_counts_in_no_window_when_one_refuses_it(self) -> None:
        async with self.open_limiter() as limiter:
            full = self.window(1, "full")
            before, behind = self.window(3, "before"), self.window(3, "behind")
            assert await limiter.acquire([full])
            assert await admitted(limiter, before, full, behind, tries=5) == 0
            assert await admitted(limiter, before, behind, tries=9) == 3

    async def test_refusals_do_not_put_off_the_next_admission(self) -> None:
        async with self.open_limiter() as limiter:
            only = self.window(2)
            assert await admitted(limiter, only, tries=9) == 2
            await self.advance(self.seconds / 2)
            assert await admitted(limiter, only, tries=9) == 0
            await self.advance(self.seconds / 2)
            assert await admitted(limiter, only, tries=9) == 2

    async def test_keys_do_not_mix(self) -> None:
        async with self.open_limiter() as limiter:
            for key in ("k", "K", "k:", "k:*", "tool:ü ☃", "a" * 400):
                assert await admitted(limiter, self.window(2, key), tries=4) == 2

    async def test_windows_of_one_key_see_the_same_calls(self) -> None:
        async with self.open_limiter() as limiter:
            # Equal in all but the scope, which is for people.
            one = self.window(3)
            other = Window(one.key, "another name", one.max_calls, one.seconds)
            assert await admitted(limiter, one, tries=2) == 2
            assert await admitted(limiter, other, tries=9) == 1
            assert (await limiter.acquire([other])).refused_by == other

    async def test_a_call_counts_once_for_a_key_that_comes_twice(self) -> None:
        async with self.open_limiter() as limiter:
            brief, lasting = self.window(2), self.window(3, parts=2)
            assert await admitted(limiter, brief, lasting, tries=2) == 2
            answer = await limiter.acquire([brief, lasting])
            assert answer.refused_by == brief
            await self.advance(answer.retry_after)
            assert await admitted(limiter, brief, lasting, tries=9) == 1
            answer = await limiter.acquire([brief, lasting])
            assert answer.refused_by == lasting
            assert self.close_to(answer, self.seconds)

    async def test_calls_at_once_are_never_admitted_too_often(self) -> None:
        async with self.open_limiter() as limiter:
            answers = await at_once([partial(limiter.acquire, [self.window(5)])] * 20)
            assert sum(known(answer).allowed for answer in answers) == 5
            assert not await limiter.acquire([self.window(5)])

    async def test_calls_at_once_count_in_all_their_windows_or_in_none(self) -> None:
        async with self.open_limiter() as limiter:
            own = [self.window(1, f"own {number}") for number in range(12)]
            shared = self.window(4, "shared")
            answers = await at_once(
                [
                    partial(limiter.acquire, [window, shared] if even else [shared, window])
                    for window, even in zip(own, [True, False] * 6, strict=True)
                ]
            )
            allowed = [known(answer).allowed for answer in answers]
            assert sum(allowed) == 4
            counted = [not await limiter.acquire([window]) for window in own]
            assert counted == allowed

    async def test_remaining_is_what_would_be_admitted_and_counts_nothing(self) -> None:
        async with self.open_limiter() as limiter:
            remaining = self.remaining_of(limiter)
            small, large, unseen = self.window(2, "a"), self.window(5, "b"), self.window(7, "c")
            assert list(await remaining([])) == []
            assert await admitted(limiter, small, large, tries=1) == 1
            for _ in range(3):
                assert list(await remaining([small, unseen, large])) == [1, 7, 4]
            assert await admitted(limiter, small, large, tries=9) == 1
            assert list(await remaining((large, small))) == [3, 0]
            assert await admitted(limiter, large, tries=9) == 3

    async def test_remaining_grows_as_time_passes_and_is_never_below_zero(self) -> None:
        async with self.open_limiter() as limiter:
            remaining = self.remaining_of(limiter)
            only, half = self.window(3), self.seconds / 2
            assert await admitted(limiter, only, tries=1) == 1
            await self.advance(half)
            assert await admitted(limiter, only, tries=9) == 2
            tighter = self.window(1)
            assert list(await remaining([only, tighter])) == [0, 0]
            await self.advance(half)
            assert list(await remaining([only])) == [1]
            await self.advance(half)
            assert list(await remaining([only, tighter])) == [3, 1]
