"""Which file it is, how safe a write has to be, and what is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from enclave_broker_core.models import Count, Frozen

MIB = 1024 * 1024


class FileConfig(Frozen):
    """A file of one broker process, made when it is not there; its directory must be."""

    path: str = Field(min_length=1)
    """The file."""
    synchronous: Literal["normal", "full"] = "normal"
    """What survives: the end of the process, however it ends; with "full" also a power cut, at the
    price of a write to the disk itself for each commit."""
    max_bytes: int | None = Field(default=None, ge=MIB)
    """Bytes to which the file may grow; no bound when left out."""
    wait: float = Field(default=5.0, ge=0, le=600)
    """Seconds for which a start waits for the process before it to let the file go."""


class SqliteConfig(FileConfig):
    """The file, and bounds for each session and for those that have ended."""

    max_events: Count = 10_000
    """Events in a session's log. Over a bound the oldest leave, never the newest one."""
    max_event_bytes: Count = 16 * MIB
    """Bytes of the payloads of these events, as JSON."""
    max_calls: Count = 1_000
    """Calls in a session's history."""
    max_call_bytes: Count = 4 * MIB
    """Bytes of the arguments of these calls, as JSON."""
    max_claims: Count = 1_000
    """Idempotency keys that are in use in a session."""
    max_claim_bytes: Count = 16 * MIB
    """Bytes of the answers that are kept under these keys."""
    grace: float = Field(default=60.0, ge=0)
    """Seconds for which an ended session can still be read."""
    max_ended: Count = 10_000
    """Ended sessions that are kept at most; those that ended first leave."""
