"""What a configuration may say of the runtime."""

from __future__ import annotations

from pydantic import BaseModel, Field


class RuntimeConfig(BaseModel, extra="forbid", frozen=True):
    """``max_steps`` bounds how many operations one run may make."""

    max_steps: int = Field(default=1_000_000, ge=1)
