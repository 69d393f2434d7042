"""What a configuration may say of the provider."""

from __future__ import annotations

from pydantic import BaseModel, Field


class NotesConfig(BaseModel, extra="forbid", frozen=True):
    """``path`` is a folder of ``.txt`` files, relative to the configuration.

    ``max_bytes`` bounds the size of a note that is read.
    """

    path: str = Field(min_length=1)
    max_bytes: int = Field(default=64 * 1024, ge=1)
