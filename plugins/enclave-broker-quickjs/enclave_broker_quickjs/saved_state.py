"""A session's code state as bytes for another process."""

from __future__ import annotations

from enclave_broker_core.errors import RunError

from .quickjs_worker import packing

MAGIC = b"enclave-quickjs-1"


def to_bytes(state: bytes) -> bytes:
    """What a worker saved, compressed; empty before the first run."""
    return MAGIC + packing.compressed(state)


def from_bytes(data: bytes) -> bytes:
    """Take up what ``to_bytes`` gave; RunError for anything else.

    The state itself is checked when a worker restores it. It is not authenticated, so it must
    only come from where nobody else can write.
    """
    if not data.startswith(MAGIC):
        raise RunError("this is not a saved state of the quickjs runtime")
    return data[len(MAGIC) :]
