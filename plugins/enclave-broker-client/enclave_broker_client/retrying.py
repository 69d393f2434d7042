"""How often something is tried again, and when."""

from __future__ import annotations

from random import SystemRandom

from enclave_broker_core.errors import BrokerError

from .settings import ClientSettings
from .steps import Pause, Steps


class Retrying:
    """Counts the failures in a row of one thing that is tried again and again."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._random = SystemRandom()
        self._failures = 0

    def reset(self) -> None:
        """It works: the next failure is the first one again."""
        self._failures = 0

    def after(self, problem: BrokerError) -> Steps[None]:
        """Pause after a failure; it is raised when it was the last one that is put up with."""
        settings = self._settings
        self._failures += 1
        wanted = problem.retry_after or 0.0
        if self._failures >= settings.attempts or wanted > settings.longest_pause:
            raise problem
        doubled = settings.first_pause * 2.0 ** (self._failures - 1)
        # Half of it is left to chance: else the clients of a server that was away for a
        # moment would all come back at the same time.
        pause = min(settings.longest_pause, doubled) * self._random.uniform(0.5, 1.0)
        yield Pause(max(pause, wanted))
