"""A session's code state as bytes for another process."""

from __future__ import annotations

import zlib

from enclave_broker_core.errors import RunError

MAGIC = b"enclave-quickjs-1"
MOST = 1 << 30


def to_bytes(state: bytes) -> bytes:
    """What a worker saved, compressed; empty before the first run."""
    return MAGIC + (zlib.compress(state, 1) if state else b"")


def from_bytes(data: bytes) -> bytes:
    """Take up what ``to_bytes`` gave; RunError for anything else.

    The state itself is checked when a worker restores it. It is not authenticated, so it must
    only come from where nobody else can write.
    """
    if not data.startswith(MAGIC):
        raise RunError("this is not a saved state of the quickjs runtime")
    packed = data[len(MAGIC) :]
    if not packed:
        return b""
    unpacking = zlib.decompressobj()
    try:
        state = unpacking.decompress(packed, MOST)
    except zlib.error:
        raise RunError("this is not a saved state of the quickjs runtime") from None
    if not unpacking.eof:
        raise RunError("this saved state of the quickjs runtime is not whole")
    return state
