"""Seals what is kept outside this process, so that only what was written here is taken back."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

SHORTEST_KEY = 32

_MARK = b"enclave-broker-sealed-1"
_MAC_BYTES = hashlib.sha256().digest_size


class BrokenSealError(ValueError):
    """This was not sealed by one of these keys, for this very purpose and place."""


class Seal:
    """HMAC-SHA256 over what something is, where it belongs, and its bytes.

    The first of ``keys``, each of 32 bytes or more, seals; all of them open.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) < SHORTEST_KEY for key in keys):
            raise ValueError(f"a seal needs keys of at least {SHORTEST_KEY} bytes")
        self._keys = tuple(keys)

    def close(self, body: bytes, *place: str) -> bytes:
        """``body`` with its seal in front; ``place`` says what it is and where it belongs."""
        return _MARK + _mac(self._keys[0], body, place) + body

    def open(self, sealed: bytes, *place: str) -> bytes:
        """What was closed for the same ``place``; BrokenSealError for anything else."""
        start = len(_MARK)
        end = start + _MAC_BYTES
        given, body = sealed[start:end], sealed[end:]
        fits = [hmac.compare_digest(given, _mac(key, body, place)) for key in self._keys]
        if not sealed.startswith(_MARK) or not any(fits):
            raise BrokenSealError("its seal does not fit")
        return body

    def __repr__(self) -> str:
        return f"Seal({len(self._keys)} keys)"


def _mac(key: bytes, body: bytes, place: Sequence[str]) -> bytes:
    mac = hmac.new(key, _MARK, hashlib.sha256)
    # With their lengths in front, so that no two lists of parts look the same.
    for part in (*(text.encode() for text in place), body):
        mac.update(len(part).to_bytes(8, "big"))
        mac.update(part)
    return mac.digest()
