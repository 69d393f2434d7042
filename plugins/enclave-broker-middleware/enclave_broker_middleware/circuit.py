"""One circuit: closed, open after too many failures, half-open when it is tried again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

BUCKETS = 10

State = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class CircuitRules:
    """When a circuit opens and closes; times in seconds.

    It opens at ``max_failures`` within the ``window`` or, from ``min_calls`` on, when the
    ``failure_rate`` of the calls there failed. After ``open_for`` it lets ``probes`` calls
    through at once, and closes when so many have gone well in a row.
    """

    window: float
    min_calls: int
    failure_rate: float
    max_failures: int | None
    open_for: float
    probes: int


class Permit:
    """Leave for one call. It ends with ``succeeded``, ``failed`` or ``neither``, once.

    What was let through before the circuit last changed says nothing of how it is now.
    """

    __slots__ = ("_circuit", "until", "version")

    def __init__(self, circuit: Circuit, version: int, until: float) -> None:
        self._circuit = circuit
        self.version = version
        self.until = until

    def succeeded(self, now: float) -> None:
        self._circuit._end(self, now, failed=False)

    def failed(self, now: float) -> None:
        self._circuit._end(self, now, failed=True)

    def neither(self, now: float) -> None:
        self._circuit._end(self, now, failed=None)


class Circuit:
    """Counts in ten parts of the window, so that its size does not depend on the calls.

    So a call counts for as long as the window, or up to a tenth less.
    """

    __slots__ = ("_buckets", "_closes_after", "_opened", "_probes", "_rules", "_state", "_version")

    def __init__(self, rules: CircuitRules) -> None:
        self._rules = rules
        self._state: State = "closed"
        self._version = 0
        self._opened = 0.0
        # The number of a part of time, the calls in it, and how many of them failed.
        self._buckets: deque[list[int]] = deque(maxlen=BUCKETS)
        self._probes: set[Permit] = set()
        self._closes_after = 0

    def state(self, now: float) -> State:
        if self._state == "open" and now >= self._opened + self._rules.open_for:
            self._become("half-open", now)
        return self._state

    def admit(self, now: float, until: float) -> Permit | float:
        """Leave to call, or the seconds after which to ask again.

        ``until`` is when a call that never tells how it ended is given up.
        """
        state = self.state(now)
        if state == "open":
            return self._opened + self._rules.open_for - now
        permit = Permit(self, self._version, until)
        if state == "half-open":
            if len(self._probes) >= self._rules.probes:
                self._probes = {probe for probe in self._probes if probe.until > now}
            if len(self._probes) >= self._rules.probes:
                return min(1.0, self._rules.open_for)
            self._probes.add(permit)
        return permit

    def _end(self, permit: Permit, now: float, *, failed: bool | None) -> None:
        self._probes.discard(permit)
        if failed is None or permit.version != self._version:
            return
        if self._state == "half-open":
            self._closes_after -= 1
            if failed:
                self._become("open", now)
            elif self._closes_after <= 0:
                self._become("closed", now)
        elif self._state == "closed":
            self._count(now, failed)
            if failed and self._is_too_much(now):
                self._become("open", now)

    def _become(self, state: State, now: float) -> None:
        self._state = state
        self._version += 1
        self._probes = set()
        if state == "open":
            self._opened = now
        elif state == "half-open":
            self._closes_after = self._rules.probes
        self._buckets.clear()

    def _part(self, now: float) -> int:
        return int(now * BUCKETS // self._rules.window)

    def _count(self, now: float, failed: bool) -> None:
        part = self._part(now)
        if not self._buckets or self._buckets[-1][0] != part:
            self._buckets.append([part, 0, 0])
        self._buckets[-1][1] += 1
        self._buckets[-1][2] += failed

    def _is_too_much(self, now: float) -> bool:
        rules, oldest = self._rules, self._part(now) - BUCKETS + 1
        counted = [bucket for bucket in self._buckets if bucket[0] >= oldest]
        calls, failures = sum(item[1] for item in counted), sum(item[2] for item in counted)
        if rules.max_failures is not None and failures >= rules.max_failures:
            return True
        return calls >= rules.min_calls and failures >= rules.failure_rate * calls
