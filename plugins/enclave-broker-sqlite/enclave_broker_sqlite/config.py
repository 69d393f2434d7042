"""Which file it is, how safe a write has to be, and what is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from enclave_broker_core.models import Count

MIB = 1024 * 1024


class FileConfig(BaseModel, extra="forbid"):
    """A file of one broker process, made when it is not there; its directory must be.

    With ``synchronous = "normal"`` what was acknowledged survives the end of the process,
    however it ends; with "full" also a power cut, at the price of a write to the disk itself
    for each commit. ``max_bytes`` is the largest that the file may grow, None is no bound.
    ``wait`` is how many seconds a start waits for the process before it to let the file go.
    """

    path: str = Field(min_length=1)
    synchronous: Literal["normal", "full"] = "normal"
    max_bytes: int | None = Field(default=None, ge=MIB)
    wait: float = Field(default=5.0, ge=0, le=600)


class SqliteConfig(FileConfig):
    """The file, and bounds for each session and for those that have ended.

    The bounds are those of the memory store: ``max_events`` and ``max_event_bytes`` of a
    session's log, ``max_calls`` and ``max_call_bytes`` of its history, ``max_claims`` and
    ``max_claim_bytes`` of its idempotency keys. ``grace`` is how many seconds an ended
    session can still be read, ``max_ended`` how many are kept at most.
    """

    max_events: Count = 10_000
    max_event_bytes: Count = 16 * MIB
    max_calls: Count = 1_000
    max_call_bytes: Count = 4 * MIB
    max_claims: Count = 1_000
    max_claim_bytes: Count = 16 * MIB
    grace: float = Field(default=60.0, ge=0)
    max_ended: Count = 10_000
