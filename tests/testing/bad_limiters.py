"""Limiters with one fault each, which the suite must find."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from anyio.lowlevel import checkpoint
from enclave_broker_memory.limiter import MemoryLimiter

from enclave_broker_core.models import Admission, Window
from enclave_broker_core.testing.limiters import LimiterSuite


class AdmitsOneTooMany(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        return await super().acquire(
            [replace(window, max_calls=window.max_calls + 1) for window in windows]
        )


class CountsRefusals(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        answer = await super().acquire(windows)
        if not answer:
            for window in windows:
                self._windows._logs[window.key].times.append(self._windows._latest)
        return answer


class CountsOneWindowAfterTheOther(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        for window in windows:
            answer = await super().acquire([window])
            if not answer:
                return answer
        return Admission()


class CountsTheFirstWindowOnly(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        return await super().acquire(windows[:1])


class NamesTheFirstFullWindow(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        answer = await super().acquire(windows)
        if not answer:
            for window in windows:
                if self._windows.remaining(window) == 0:
                    return Admission(window, answer.retry_after)
        return answer


class SaysToRetryAfterAWholeWindow(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        answer = await super().acquire(windows)
        if answer.refused_by is None:
            return answer
        return Admission(answer.refused_by, answer.refused_by.seconds)


class SaysToRetryTooEarly(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        answer = await super().acquire(windows)
        return Admission(answer.refused_by, answer.retry_after * 0.9)


class ForgetsTooEarly(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        return await super().acquire(
            [replace(window, seconds=window.seconds * 0.99) for window in windows]
        )


class HoldsOnTooLong(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        return await super().acquire(
            [replace(window, seconds=window.seconds * 1.001) for window in windows]
        )


class FixedWindows(MemoryLimiter):
    """Counts anew when the clock reaches a multiple of the window's seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._now = clock
        self._counts: dict[tuple[str, int], int] = {}

    async def acquire(self, windows: Sequence[Window]) -> Admission:
        places = [(window.key, int(self._now() // window.seconds)) for window in windows]
        for window, place in zip(windows, places, strict=True):
            if self._counts.get(place, 0) >= window.max_calls:
                return Admission(window, window.seconds - self._now() % window.seconds)
        for place in set(places):
            self._counts[place] = self._counts.get(place, 0) + 1
        return Admission()


class SharesOneKey(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        return await super().acquire(
            [replace(window, key=window.key.casefold()) for window in windows]
        )


class CountsByScope(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        return await super().acquire(
            [replace(window, key=window.key + window.scope) for window in windows]
        )


class CountsAKeyTwice(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        answer = await super().acquire(windows)
        if answer and len({window.key for window in windows}) < len(windows):
            await super().acquire(windows[:1])
        return answer


class LooksBeforeItCounts(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        if all(self._windows.remaining(window) > 0 for window in windows):
            await checkpoint()
            await super().acquire(windows)
            return Admission()
        return await super().acquire(windows)


class IsSilentlySync(MemoryLimiter):
    def acquire(self, windows: Sequence[Window]) -> Awaitable[Admission]:  # type: ignore[override]
        return super().acquire(windows)


class ChecksNothingYet(MemoryLimiter):
    async def check(self) -> None:
        raise NotImplementedError


class RefusesNoWindows(MemoryLimiter):
    async def acquire(self, windows: Sequence[Window]) -> Admission:
        return await super().acquire(windows or [Window("all", "global", 1, 1.0)])


class CountsWhatItLooksAt(MemoryLimiter):
    async def remaining(self, windows: Sequence[Window]) -> Sequence[int]:
        left = await super().remaining(windows)
        await self.acquire(windows)
        return left


class LooksAtTheFirstWindowOnly(MemoryLimiter):
    async def remaining(self, windows: Sequence[Window]) -> Sequence[int]:
        return [*(await super().remaining(windows[:1])), *(w.max_calls for w in windows[1:])]


class RemembersWhatIsOver(MemoryLimiter):
    async def remaining(self, windows: Sequence[Window]) -> Sequence[int]:
        return [w.max_calls - len(self._windows._logs[w.key].times) for w in windows]


KNOWN_BAD = {
    LimiterSuite: {
        AdmitsOneTooMany: {"max_calls_are_admitted_and_no_more"},
        CountsRefusals: {"refusals_do_not_put_off_the_next_admission"},
        CountsOneWindowAfterTheOther: {
            "a_call_counts_in_no_window_when_one_refuses_it",
            "calls_at_once_count_in_all_their_windows_or_in_none",
        },
        CountsTheFirstWindowOnly: {"a_call_counts_in_every_window"},
        NamesTheFirstFullWindow: {"a_refusal_names_the_window_that_has_room_last"},
        SaysToRetryAfterAWholeWindow: {"a_refusal_says_in_how_many_seconds_there_is_room"},
        SaysToRetryTooEarly: {"a_refusal_says_in_how_many_seconds_there_is_room"},
        ForgetsTooEarly: {"a_window_ends_when_its_time_is_over_and_not_before"},
        HoldsOnTooLong: {"a_window_ends_when_its_time_is_over_and_not_before"},
        FixedWindows: {"windows_slide"},
        SharesOneKey: {"keys_do_not_mix"},
        CountsByScope: {"windows_of_one_key_see_the_same_calls"},
        CountsAKeyTwice: {"a_call_counts_once_for_a_key_that_comes_twice"},
        LooksBeforeItCounts: {"calls_at_once_are_never_admitted_too_often"},
        IsSilentlySync: {"every_method_is_a_coroutine_function"},
        ChecksNothingYet: {"check_is_content_with_a_limiter_that_works"},
        RefusesNoWindows: {"without_windows_all_is_admitted"},
        CountsWhatItLooksAt: {"remaining_is_what_would_be_admitted_and_counts_nothing"},
        LooksAtTheFirstWindowOnly: {"remaining_is_what_would_be_admitted_and_counts_nothing"},
        RemembersWhatIsOver: {"remaining_grows_as_time_passes_and_is_never_below_zero"},
    }
}
