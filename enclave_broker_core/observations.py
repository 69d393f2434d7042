"""What an event sink is told: one immutable record for each thing that happened."""

from __future__ import annotations

from dataclasses import dataclass

from .calls import CallRecord
from .models import Decision, Principal, SessionRecord


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """An observation: a session was created."""

    record: SessionRecord


@dataclass(frozen=True, slots=True)
class CallFinished:
    """An observation: a call came to its end, whatever the end was.

    ``digest`` is SHA-256 of the arguments' JSON text, in hex; ``decision`` is None when
    access was never asked, ``message`` is the error's.
    """

    session_id: str
    principal: Principal | None
    call: CallRecord
    decision: Decision | None
    digest: str
    message: str | None = None


@dataclass(frozen=True, slots=True)
class SessionFinished:
    """An observation: a session ended. ``error_code`` is None when it completed."""

    record: SessionRecord
    error_code: str | None


Observation = SessionStarted | CallFinished | SessionFinished
"""What a sink is shown."""
