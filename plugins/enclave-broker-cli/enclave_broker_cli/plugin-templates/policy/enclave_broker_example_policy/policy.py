"""A policy that lets callers touch only what is theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from enclave_broker_core.contracts import AccessPolicy, AccessRequest, OpenContext
from enclave_broker_core.models import Decision, Verdict
from enclave_broker_core.patterns import Pattern

from .config import OwnerConfig


class OwnerPolicy:
    """An AccessPolicy: an argument of the call has to be the caller's id."""

    # It is asked with the arguments, once they have been validated.
    judges_arguments: bool = True

    def __init__(self, config: OwnerConfig) -> None:
        self._config = config
        self._tools = Pattern(config.tools)

    async def decide(self, request: AccessRequest) -> Decision:
        config, caller = self._config, request.principal
        if not self._tools.matches(request.tool):
            # Every policy of a broker has to allow a call: of this one nothing more is said here.
            return Decision(Verdict.ALLOW, "other tools")
        if caller is None:
            return Decision(Verdict.ALLOW, "program", "it calls the tool itself")
        if config.exempt_roles & caller.roles:
            return Decision(Verdict.ALLOW, "exempt_roles")
        owner = (request.arguments or {}).get(config.argument)
        # Without the argument nobody is the owner.
        verdict = Verdict.ALLOW if owner == caller.id else Verdict.DENY
        return Decision(verdict, f"argument {config.argument}")


@asynccontextmanager
async def open_policy(config: OwnerConfig, context: OpenContext) -> AsyncIterator[AccessPolicy]:
    yield OwnerPolicy(config)
