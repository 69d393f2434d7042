"""Why a connection ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Ending:
    """The first reason that was found; empty while there is none."""

    reason: str = ""

    def because(self, reason: str) -> None:
        self.reason = self.reason or reason
