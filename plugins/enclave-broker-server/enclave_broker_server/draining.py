"""Whether the server takes new sessions: until it is told to stop."""

from __future__ import annotations

from .answers import HttpError


class Draining:
    """Once ``begin`` was called, no new session is taken; those that run go on."""

    def __init__(self, retry_after: float) -> None:
        self._retry_after = retry_after
        self._begun = False

    def begin(self) -> None:
        self._begun = True

    def require_open(self) -> None:
        """HttpError 503, which says when another replica may have taken over."""
        if self._begun:
            raise HttpError(503, "the server is stopping", retry_after=self._retry_after)
