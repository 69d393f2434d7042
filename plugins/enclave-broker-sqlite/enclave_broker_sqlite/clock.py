"""Seconds since the epoch that never go back, also not from one process to the next."""

from __future__ import annotations

import time
from collections.abc import Callable

Timer = Callable[[], float]


class Clock:
    """The wall's time at the start, or the ``latest`` that is on record, and from there on by
    ``timer``: who sets the wall's clock changes nothing while this process lives."""

    def __init__(
        self, latest: float, wall: Timer = time.time, timer: Timer = time.monotonic
    ) -> None:
        self._timer = timer
        self._began = timer()
        self._start = max(latest, wall())

    def now(self) -> float:
        return self._start + (self._timer() - self._began)
