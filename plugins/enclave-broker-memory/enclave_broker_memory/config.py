"""What the memory store keeps, and for how long."""

from __future__ import annotations

from pydantic import Field

from enclave_broker_core.models import Count, Frozen

MIB = 1024 * 1024


class MemoryStoreConfig(Frozen):
    """Bounds for each session and for the sessions that have ended."""

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
