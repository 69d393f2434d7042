"""What a configuration may say of the policy."""

from __future__ import annotations

from enclave_broker_core.errors import ConfigError
from enclave_broker_core.patterns import Pattern
from pydantic import BaseModel, Field, field_validator


class OwnerConfig(BaseModel, extra="forbid", frozen=True):
    """Whose things a call may be about.

    In calls of the tools that match ``tools``, the argument named ``argument`` has to be the
    caller's id. Callers with one of ``exempt_roles`` may name anybody.
    """

    tools: str
    argument: str = Field(default="owner", min_length=1)
    exempt_roles: frozenset[str] = frozenset()

    @field_validator("tools")
    @classmethod
    def _tools(cls, text: str) -> str:
        try:
            Pattern(text)
        except ConfigError as problem:
            # Said as a ValueError it is told with its place in the file.
            raise ValueError(problem.message) from None
        return text
