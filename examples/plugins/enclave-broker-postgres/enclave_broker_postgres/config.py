"""What the store keeps, and for how long."""

from __future__ import annotations

from pydantic import BaseModel, Field


class StoreConfig(BaseModel, extra="forbid", frozen=True):
    """``max_events``, ``max_calls`` and ``max_claims`` are of each session.

    Over a bound the oldest leave. ``grace`` is how many seconds an ended session can still be
    read; ``max_ended`` how many of them are kept at most.
    """

    max_events: int = Field(default=10_000, ge=1)
    max_calls: int = Field(default=1_000, ge=1)
    max_claims: int = Field(default=1_000, ge=1)
    grace: float = Field(default=60.0, ge=0)
    max_ended: int = Field(default=10_000, ge=1)
