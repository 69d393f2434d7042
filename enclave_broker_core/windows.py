"""Exact sliding windows in this process: when a call was admitted, for each key."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from .models import Admission, Window

ADMITTED = Admission()

_FIRST_SWEEP = 256
MOST_PLANS = 32_768  # of half a kilobyte: one for each open session, and for many of them


class _Log:
    """When the latest calls of one key were admitted, oldest first.

    ``max_calls`` and ``seconds`` are the largest that any window of the key had: the last
    ``max_calls`` times are all that such windows can ask for.
    """

    __slots__ = ("max_calls", "seconds", "times")

    def __init__(self, max_calls: int, seconds: float) -> None:
        self.max_calls = max_calls
        self.seconds = seconds
        self.times: deque[float] = deque(maxlen=max_calls)

    def widen(self, max_calls: int, seconds: float) -> bool:
        """Be large enough for such a window; whether ``times`` is another deque now."""
        self.seconds = max(self.seconds, seconds)
        if max_calls <= self.max_calls:
            return False
        self.max_calls = max_calls
        self.times = deque(self.times, maxlen=max_calls)
        return True


class _Plan:
    """Where to look for some windows, each with its size, and the logs to write, each once.

    It holds the windows, so that no other tuple can get their identity meanwhile.
    """

    __slots__ = ("logs", "looks", "windows")

    def __init__(self, windows: Sequence[Window], logs: Mapping[str, _Log]) -> None:
        self.windows = windows
        self.looks = tuple((logs[w.key].times, w.max_calls, w.seconds) for w in windows)
        self.logs = tuple({w.key: logs[w.key].times for w in windows}.values())


class SlidingWindows:
    """At most ``max_calls`` in any (t - seconds, t] of each window, by ``clock`` in seconds.

    Windows with the same key look at the same calls, also when their sizes differ, and one
    acquire counts once for a key however many of its windows have it. A size that grows
    sees what the sizes before it needed to know. A key takes up to ``max_calls`` floats and
    goes some time after its longest window has passed without a call.

    Time never goes back here: a clock that does stands still until it has caught up. Not
    for use by several threads at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest = -math.inf
        self._logs: dict[str, _Log] = {}
        self._plans: dict[int, _Plan] = {}
        self._sweep_at = _FIRST_SWEEP

    def acquire(self, windows: Sequence[Window]) -> Admission:
        """Count one call in every window, or in none when one of them has no room.

        A refusal names the window that has room last and in how many seconds: a retry at
        exactly that time is admitted, unless another call took the place. ValueError for a
        window without calls or time.
        """
        now = self._clock()
        if now < self._latest:
            now = self._latest
        else:
            self._latest = now
        plan = self._plans.get(id(windows))
        if plan is None:
            plan = self._plan(windows, now)
        for times, max_calls, seconds in plan.looks:
            if len(times) >= max_calls and times[-max_calls] + seconds > now:
                return self._refusal(windows, now)
        for times in plan.logs:
            times.append(now)
        return ADMITTED

    def remaining(self, window: Window) -> int:
        """How many calls the window has room for now. Counts nothing."""
        now = max(self._clock(), self._latest)
        log = self._logs.get(window.key)
        used = 0
        if log is not None:
            for admitted in reversed(log.times):
                if admitted + window.seconds <= now:
                    break
                used += 1
        return max(0, window.max_calls - used)

    def _plan(self, windows: Sequence[Window], now: float) -> _Plan:
        """Find the logs of the windows; remembered when these come again as the same tuple."""
        for window in windows:
            if window.max_calls < 1 or not window.seconds > 0:
                raise ValueError(f"a window needs max_calls >= 1 and seconds > 0: {window}")
        # Only here do keys become more, and only here may old ones go.
        if len(self._logs) >= self._sweep_at:
            self._sweep(now)
        for window in windows:
            log = self._logs.get(window.key)
            if log is None:
                self._logs[window.key] = _Log(window.max_calls, window.seconds)
            elif log.widen(window.max_calls, window.seconds):
                self._plans.clear()
        plan = _Plan(windows, self._logs)
        if type(windows) is tuple:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[id(windows)] = plan
        return plan

    def _sweep(self, now: float) -> None:
        """Forget the keys that no window can see any more; a new dict, for a dict never shrinks."""
        self._logs = {
            key: log
            for key, log in self._logs.items()
            if log.times and log.times[-1] + log.seconds > now
        }
        self._plans.clear()
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(self._logs))

    def _refusal(self, windows: Sequence[Window], now: float) -> Admission:
        last: Window | None = None
        free_at = now
        for window in windows:
            times = self._logs[window.key].times
            if len(times) >= window.max_calls:
                free = times[-window.max_calls] + window.seconds
                if free > free_at:
                    last, free_at = window, free
        reading = self._clock()
        # By the clock as it reads, which may be behind `now`; and never short of the time
        # by the rounding of this difference.
        retry_after = free_at - reading
        if reading + retry_after < free_at:
            retry_after += math.ulp(free_at)
        return Admission(last, retry_after)
