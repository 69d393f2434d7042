"""Who would make a call, and from where: for looking at the tools without calling any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import JsonValue

from .errors import ArgumentsError, BrokerError, ConfigError
from .models import Principal, SessionLimits
from .pattern_index import PatternIndex
from .patterns import Pattern
from .session_handle import SessionHandle


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """A principal in a session, or in a new one when ``id`` is None.

    ``seconds_left`` is what is left of the session's life, ``calls_left`` how many attempts
    it still has, None for any number; ``over`` is the error of what is asked of an ended one.
    """

    id: str | None
    principal: Principal | None
    metadata: Mapping[str, JsonValue]
    allowed: PatternIndex | None
    limits: SessionLimits
    seconds_left: float
    calls_left: int | None
    over: BrokerError | None = None


def viewpoint(
    session: SessionHandle | None,
    principal: Principal | None,
    allowed_tools: Sequence[str] | None,
    limits: SessionLimits,
) -> Viewpoint:
    """From a session, or as in a new one with ``limits``; what else is given stands instead
    of the session's own. ArgumentsError for a malformed pattern."""
    try:
        allowed = None if allowed_tools is None else PatternIndex(list(map(Pattern, allowed_tools)))
    except ConfigError as problem:
        raise ArgumentsError(f"allowed_tools: {problem.message}") from None
    if session is None:
        most = limits.max_tool_calls
        nothing: Mapping[str, JsonValue] = MappingProxyType({})
        return Viewpoint(None, principal, nothing, allowed, limits, limits.timeout, most)
    most = session.limits.max_tool_calls
    return Viewpoint(
        session.id,
        session.principal if principal is None else principal,
        session.metadata,
        session.allowed if allowed is None else allowed,
        session.limits,
        session.remaining(),
        None if most is None else max(0, most - session.info().tool_calls),
        session.over() if session.is_ending else None,
    )
