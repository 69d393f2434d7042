"""What a configuration may say of the secret source."""

from __future__ import annotations

from pydantic import BaseModel, Field


class EnvFileConfig(BaseModel, extra="forbid", frozen=True):
    """``path`` is a file with lines ``NAME=value``, relative to the configuration.

    ``max_bytes`` bounds its size.
    """

    path: str = Field(default=".env", min_length=1)
    max_bytes: int = Field(default=64 * 1024, ge=1)
