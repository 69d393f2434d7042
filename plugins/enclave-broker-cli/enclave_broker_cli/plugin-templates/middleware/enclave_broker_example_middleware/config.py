"""What a configuration may say of the middleware."""

from __future__ import annotations

from enclave_broker_core.models import Seconds
from pydantic import BaseModel


class SlowCallsConfig(BaseModel, extra="forbid", frozen=True):
    """``seconds`` is how long a call may take before it counts as slow."""

    seconds: Seconds = 1.0
