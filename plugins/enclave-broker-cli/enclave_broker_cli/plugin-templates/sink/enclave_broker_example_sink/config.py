"""What a configuration may say of the sink."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class SinkConfig(BaseModel, extra="forbid", frozen=True):
    """``level`` is that of the log lines."""

    level: Literal["debug", "info", "warning"] = "info"
