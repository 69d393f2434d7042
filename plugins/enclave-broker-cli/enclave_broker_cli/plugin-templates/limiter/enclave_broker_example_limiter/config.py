"""What a configuration may say of the limiter."""

from __future__ import annotations

from pydantic import BaseModel, Field


class LimiterConfig(BaseModel, extra="forbid", frozen=True):
    """``max_keys`` bounds how many keys are counted at a time, and with them the memory."""

    max_keys: int = Field(default=100_000, ge=1)
