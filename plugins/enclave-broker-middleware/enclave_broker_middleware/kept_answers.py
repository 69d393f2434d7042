"""Answers that are kept for a time, bounded in number and in bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from cachebox import LRUCache

from enclave_broker_core.models import ToolSpec

# What an answer takes besides its text: its key, its place in the table and in the order.
OVERHEAD = 300


class Kept(NamedTuple):
    """An answer as JSON text, which tool gave it, and until when it is good."""

    text: bytes
    spec: ToolSpec
    until: float


class KeptAnswers:
    """The answers that were asked for last; an older one goes when there is no room.

    ``ttl`` is in seconds, ``max_bytes`` counts texts and what they take besides.
    """

    def __init__(
        self,
        ttl: float,
        max_entries: int,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl = ttl
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._answers: LRUCache[bytes, Kept] = LRUCache(
            max_bytes, getsizeof=lambda key, kept: len(kept.text) + OVERHEAD
        )

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: bytes, spec: ToolSpec) -> bytes | None:
        """The answer that this very tool gave, if it is still good."""
        if key not in self._answers:
            return None
        kept = self._answers[key]
        if kept.spec is spec and self._clock() < kept.until:
            return kept.text
        del self._answers[key]
        return None

    def put(self, key: bytes, spec: ToolSpec, text: bytes) -> None:
        """Keep an answer, unless it alone is larger than all of them may be."""
        if len(text) + OVERHEAD > self._max_bytes:
            self._answers.pop(key, None)
            return
        self._answers.insert(key, Kept(text, spec, self._clock() + self._ttl))
        while len(self._answers) > self._max_entries:
            self._answers.popitem()
