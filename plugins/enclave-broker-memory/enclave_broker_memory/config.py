"""What the memory store keeps, and for how long."""

from __future__ import annotations

from pydantic import BaseModel, Field

from enclave_broker_core.models import Count

MIB = 1024 * 1024


class MemoryStoreConfig(BaseModel, extra="forbid"):
    """Bounds for each session and for the sessions that have ended.

    ``max_events`` and ``max_event_bytes`` bound a session's log, ``max_calls`` and
    ``max_call_bytes`` its history: counts, and bytes of payloads and of arguments as JSON.
    Over a bound the oldest leave, but never the newest one. ``max_claims`` bounds the keys
    that are in use in a session, ``max_claim_bytes`` the answers kept under them. ``grace``
    is how many seconds an ended session can still be read; ``max_ended`` how many are kept
    at most, in the order of their ends.
    """

    max_events: Count = 10_000
    max_event_bytes: Count = 16 * MIB
    max_calls: Count = 1_000
    max_call_bytes: Count = 4 * MIB
    max_claims: Count = 1_000
    max_claim_bytes: Count = 16 * MIB
    grace: float = Field(default=60.0, ge=0)
    max_ended: Count = 10_000
