"""Decisions that still stand, by the digest of what was asked."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from enclave_broker_core.models import Decision


class DecisionCache:
    """At most ``entries`` decisions, each for ``seconds`` from when it was made.

    The one that was made first goes first. ``clock`` gives seconds that only go forward.
    """

    def __init__(
        self, seconds: float, entries: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._entries = entries
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, Decision]] = OrderedDict()

    def get(self, question: bytes) -> Decision | None:
        key = sha256(question).digest()
        until, decision = self._kept.get(key, (0.0, None))
        if decision is None or self._clock() < until:
            return decision
        del self._kept[key]
        return None

    def put(self, question: bytes, decision: Decision) -> None:
        key = sha256(question).digest()
        self._kept.pop(key, None)
        self._kept[key] = (self._clock() + self._seconds, decision)
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)
