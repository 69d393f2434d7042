"""How a server is doing, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

FIRST_RETRY = 1.0
LAST_RETRY = 60.0
JITTER = 0.25

State = Literal["healthy", "stale", "unhealthy"]


@dataclass(frozen=True, slots=True)
class Health:
    """How a server is doing.

    ``healthy``: there is a connection, and its tools are those that it lists. ``stale``: there
    is none now, and the tools are those of the last one. ``unhealthy``: there was none yet, and
    so there are no tools. ``reason`` says why, ``failures`` how often in a row.
    """

    state: State
    reason: str = ""
    failures: int = 0


class BackOff:
    """How long to wait before a server is tried again, in seconds: ever longer, within bounds,
    and with some jitter, so that many brokers do not all come at once.

    ``random`` is from 0 to 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def after(self, failures: int) -> float:
        """The wait after so many failures in a row, one or more."""
        seconds = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 30))
        return seconds * (1.0 - JITTER + 2.0 * JITTER * self._random())
