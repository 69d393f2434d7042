"""What a configuration may say of the policy."""

from __future__ import annotations

from enclave_broker_core.patterns import PatternText
from pydantic import BaseModel, Field


class OwnerConfig(BaseModel, extra="forbid", frozen=True):
    """Whose things a call may be about.

    In calls of the tools that match ``tools``, the argument named ``argument`` has to be the
    caller's id. Callers with one of ``exempt_roles`` may name anybody.
    """

    tools: PatternText
    argument: str = Field(default="owner", min_length=1)
    exempt_roles: frozenset[str] = frozenset()
