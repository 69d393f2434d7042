"""When a document is looked at again, and how its source is doing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

JITTER = 0.1
FIRST_RETRY = 1.0
LAST_RETRY = 300.0

State = Literal["healthy", "stale", "unhealthy"]


@dataclass(frozen=True, slots=True)
class Health:
    """How a source is doing.

    ``healthy``: its tools are those of the document as it was last seen. ``stale``: the
    document could not be had, or is broken, and the tools are those of the one before.
    ``unhealthy``: there was none yet, and so there are no tools. ``reason`` says why,
    ``failures`` how often in a row.
    """

    state: State
    reason: str = ""
    failures: int = 0


class Pace:
    """How long to wait, in seconds: what is regular with some jitter, so that many brokers do
    not all ask at once, and after failures at first soon, then ever later.

    ``refresh`` is 0 when only failures are to be tried again. ``random`` is from 0 to 1.
    """

    def __init__(self, refresh: float, random: Callable[[], float]) -> None:
        self._refresh = refresh
        self._random = random

    def after(self, failures: int) -> float | None:
        """The wait after so many failures in a row; None when there is nothing to wait for."""
        if failures == 0:
            return self._jittered(self._refresh) if self._refresh else None
        longest = max(self._refresh, LAST_RETRY)
        first = min(self._refresh or FIRST_RETRY, FIRST_RETRY)
        return self._jittered(min(longest, first * 2.0 ** min(failures - 1, 30)))

    def _jittered(self, seconds: float) -> float:
        return seconds * (1.0 - JITTER + 2.0 * JITTER * self._random())
