"""Whether the server takes new sessions: until it is told to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .answers import HttpError

_log = logging.getLogger(__name__)


class Draining:
    """Once ``begin`` was called, no new session is taken; those that run go on."""

    def __init__(self, retry_after: float) -> None:
        self._retry_after = retry_after
        self._begun = False
        self._told: list[Callable[[], None]] = []

    def tell(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when it begins; one that fails is logged, and stops nothing."""
        self._told.append(listener)

    def begin(self) -> None:
        if not self._begun:
            self._begun = True
            for listener in self._told:
                try:
                    listener()
                except Exception:
                    _log.exception("a plugin's route failed when it was told that the server stops")

    def require_open(self) -> None:
        """HttpError 503, which says when another replica may have taken over."""
        if self._begun:
            raise HttpError(503, "the server is stopping", retry_after=self._retry_after)
