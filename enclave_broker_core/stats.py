"""What a broker counts, for operators."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BrokerStats:
    """What there is now, and counts since the broker opened."""

    open_sessions: int
    tools: int
    calls: int
    failed_calls: int
    abandoned_threads: int
    abandoned_handlers: int
    dropped_observations: int
