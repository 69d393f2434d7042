import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave_broker_core.models import Admission, Window
from enclave_broker_core.testing.fakes import Clock
from enclave_broker_core.windows import SlidingWindows


def window(key: str = "k", max_calls: int = 2, seconds: float = 10.0) -> Window:
    return Window(key, f"the {key}", max_calls, seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def windows(clock: Clock) -> SlidingWindows:
    return SlidingWindows(clock)


def test_admits_max_calls_in_any_window_and_no_more(clock: Clock, windows: SlidingWindows) -> None:
    assert windows.acquire([window()]) == Admission()
    clock.now = 1004.0
    assert windows.acquire([window()]) == Admission()
    clock.now = 1009.0
    assert windows.acquire([window()]) == Admission(window(), 1.0)
    # The window (1000, 1010] does not hold the call of 1000.
    clock.now = 1010.0
    assert windows.acquire([window()]) == Admission()
    assert windows.acquire([window()]) == Admission(window(), 4.0)


def test_all_windows_or_none(clock: Clock, windows: SlidingWindows) -> None:
    wide, narrow = window("wide", 2), window("narrow", 1)
    assert windows.acquire([narrow])
    for _ in range(5):
        assert windows.acquire([wide, narrow]).refused_by == narrow
        assert windows.acquire([narrow, wide]).refused_by == narrow
    assert windows.remaining(wide) == 2


def test_a_refusal_names_the_window_that_has_room_last(
    clock: Clock, windows: SlidingWindows
) -> None:
    soon, late, free = window("soon", 1, 5.0), window("late", 1, 50.0), window("free", 9, 500.0)
    assert windows.acquire([soon, late])
    clock.now += 1
    for order in ([soon, late, free], [free, late, soon], [late, soon]):
        assert windows.acquire(order) == Admission(late, 49.0)
    assert windows.acquire([free, soon]) == Admission(soon, 4.0)


def test_windows_of_one_key_see_the_same_calls(clock: Clock, windows: SlidingWindows) -> None:
    short, long = window("k", 2, 1.0), window("k", 3, 60.0)
    assert windows.acquire([short, long])
    assert windows.acquire([short, long])
    assert windows.acquire([short, long]) == Admission(short, 1.0)
    clock.now += 1
    assert windows.acquire([short, long])
    assert windows.acquire([short, long]) == Admission(long, 59.0)
    assert windows.remaining(short) == 1


def test_the_same_window_twice_counts_once(windows: SlidingWindows) -> None:
    assert windows.acquire([window(), window()])
    assert windows.remaining(window()) == 1


def test_a_window_that_has_become_larger_sees_the_calls_before(
    clock: Clock, windows: SlidingWindows
) -> None:
    assert windows.acquire([window("k", 1, 1.0)])
    clock.now += 2
    assert windows.acquire([window("k", 2, 60.0)])
    assert windows.acquire([window("k", 2, 60.0)]) == Admission(window("k", 2, 60.0), 58.0)


def test_a_window_that_has_become_smaller_holds_at_once(windows: SlidingWindows) -> None:
    for _ in range(5):
        assert windows.acquire([window("k", 5, 60.0)])
    assert windows.acquire([window("k", 2, 60.0)]) == Admission(window("k", 2, 60.0), 60.0)
    assert windows.remaining(window("k", 2, 60.0)) == 0


def test_a_clock_that_stands_still_or_goes_back(clock: Clock, windows: SlidingWindows) -> None:
    assert windows.acquire([window()])
    clock.now -= 3
    assert windows.acquire([window()])
    assert windows.remaining(window()) == 0
    # By the clock as it reads now, the place is free 13 seconds later.
    assert windows.acquire([window()]) == Admission(window(), 13.0)
    clock.now += 13
    assert windows.acquire([window()])


def test_no_windows_admit(windows: SlidingWindows) -> None:
    assert windows.acquire([]) == Admission()


@pytest.mark.parametrize(
    ("max_calls", "seconds"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0), (1, math.nan)]
)
def test_a_window_without_calls_or_time_is_an_error(
    windows: SlidingWindows, max_calls: int, seconds: float
) -> None:
    with pytest.raises(ValueError, match="a window needs"):
        windows.acquire([window("new", max_calls, seconds)])


def test_max_calls_below_one_is_an_error_also_for_a_known_key(windows: SlidingWindows) -> None:
    assert windows.acquire([window()])
    with pytest.raises(ValueError, match="a window needs"):
        windows.acquire([window(max_calls=0)])


def test_remaining_counts_nothing(clock: Clock, windows: SlidingWindows) -> None:
    assert windows.remaining(window()) == 2
    assert windows.acquire([window()])
    assert [windows.remaining(window()) for _ in range(3)] == [1, 1, 1]
    clock.now += 9.5
    assert windows.remaining(window()) == 1
    clock.now += 0.5
    assert windows.remaining(window()) == 2


def test_keys_go_when_their_longest_window_has_passed(
    clock: Clock, windows: SlidingWindows
) -> None:
    lasting = window("lasting", 1, 1e9)
    assert windows.acquire([lasting])
    for number in range(20_000):
        clock.now += 1
        assert windows.acquire([window(f"s{number}", 2, 10.0)])
    assert len(windows._logs) <= 512
    assert not windows.acquire([lasting])


def test_a_key_that_is_used_keeps_its_calls_through_sweeps(
    clock: Clock, windows: SlidingWindows
) -> None:
    """A new key beside it may cause a sweep: what is admitted with it must still count."""
    shared = window("shared", 3, 1.0)
    admitted_at: list[float] = []
    for number in range(3000):
        clock.now += 0.25
        if windows.acquire([shared, window(f"s{number}", 1, 0.25)]):
            admitted_at.append(clock.now)
        assert sum(clock.now - 1.0 < at for at in admitted_at[-4:]) <= 3
    assert len(admitted_at) == 2250


def test_a_key_holds_no_more_times_than_its_largest_window_needs(
    clock: Clock, windows: SlidingWindows
) -> None:
    for _ in range(1000):
        clock.now += 10
        assert windows.acquire([window("k", 5, 10.0)])
    assert len(windows._logs["k"].times) == 5


@given(
    start=st.floats(0, 1e9),
    seconds=st.floats(1e-3, 1e6),
    later=st.floats(0, 1),
)
def test_a_retry_at_exactly_the_time_is_admitted(
    start: float, seconds: float, later: float
) -> None:
    clock = Clock(start)
    windows = SlidingWindows(clock)
    only = window("k", 1, seconds)
    assert windows.acquire([only])
    clock.now += later * seconds
    answer = windows.acquire([only])
    if not answer:
        clock.now += answer.retry_after
        assert windows.acquire([only])


@dataclass
class Model:
    """Every admission there ever was, looked through each time."""

    admitted: list[tuple[str, float]] = field(default_factory=list)
    now: float = 0.0

    def acquire(self, windows: Sequence[Window], now: float) -> tuple[bool, float]:
        """Whether it is admitted, and when all windows have room."""
        self.now = max(self.now, now)
        free_at = max((self._free_at(window) for window in windows), default=self.now)
        if free_at > self.now:
            return False, free_at
        self.admitted += [(key, self.now) for key in {window.key for window in windows}]
        return True, self.now

    def _free_at(self, window: Window) -> float:
        """The first time at or after now at which fewer than max_calls are in the window."""
        inside = [
            at for key, at in self.admitted if key == window.key and at > self.now - window.seconds
        ]
        excess = len(inside) - window.max_calls
        return self.now if excess < 0 else sorted(inside)[excess] + window.seconds


# Times in quarters of a second, so that the sums are exact and boundaries are often met.
quarters = st.integers(1, 12).map(lambda count: count / 4)
sizes = st.builds(window, st.sampled_from("abc"), st.integers(1, 4), quarters)
steps = st.lists(
    st.tuples(st.integers(-2, 6).map(lambda count: count / 4), st.lists(sizes, max_size=4)),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=steps)
def test_agrees_with_a_model_that_remembers_everything(
    steps: list[tuple[float, list[Window]]],
) -> None:
    clock = Clock()
    windows = SlidingWindows(clock)
    model = Model()
    # Every size is seen from the start: a size that comes later may know too little.
    seen = [window for _, group in steps for window in group]
    assert all(windows.remaining(window) == window.max_calls for window in seen)
    windows._plan(seen, clock.now)
    for passed, group in steps:
        clock.now += passed
        admitted, free_at = model.acquire(group, clock.now)
        answer = windows.acquire(group)
        assert answer.allowed == admitted
        if not admitted:
            assert clock.now + answer.retry_after == free_at
            assert answer.refused_by is not None
            assert model._free_at(answer.refused_by) == free_at


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_sizes_that_change_never_admit_more_than_the_newest_size_allows(
    steps: list[tuple[float, list[Window]]],
) -> None:
    """Without knowing the sizes before: what was admitted under a size counts for its equals."""
    clock = Clock()
    windows = SlidingWindows(clock)
    admitted: list[tuple[Window, float]] = []
    for passed, group in steps:
        clock.now += max(0.0, passed)
        if windows.acquire(group):
            admitted += [(window, clock.now) for window in set(group)]
    for size, at in admitted:
        inside = [
            other for other, when in admitted if other == size and at - size.seconds < when <= at
        ]
        assert len(inside) <= size.max_calls
