"""A circuit beside a slow and obvious one that remembers every call."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_middleware.circuit import BUCKETS, Circuit, CircuitRules, Permit
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

RULES = CircuitRules(
    window=10, min_calls=4, failure_rate=0.5, max_failures=5, open_for=20, probes=2
)


class ObviousCircuit:
    """All that ended while it was closed, with their times; what was begun since it changed."""

    def __init__(self) -> None:
        self.state = "closed"
        self.since = 0.0
        self.ended: list[tuple[float, bool]] = []
        self.under_way: list[object] = []
        self.well = 0

    def change(self, state: str, now: float) -> None:
        self.state, self.since = state, now
        self.ended, self.under_way, self.well = [], [], 0

    def admit(self, now: float) -> object | None:
        if self.state == "open" and now >= self.since + RULES.open_for:
            self.change("half-open", now)
        if self.state == "open":
            return None
        if self.state == "half-open" and len(self.under_way) >= RULES.probes:
            return None
        permit = object()
        self.under_way.append(permit)
        return permit

    def end(self, permit: object, now: float, failed: bool | None) -> None:
        if permit not in self.under_way:
            return
        self.under_way.remove(permit)
        if failed is None:
            return
        if self.state == "half-open":
            self.well += 1
            if failed:
                self.change("open", now)
            elif self.well == RULES.probes:
                self.change("closed", now)
            return
        part = RULES.window / BUCKETS
        self.ended.append((now, failed))
        within = [f for at, f in self.ended if at // part > now // part - BUCKETS]
        if failed and (
            sum(within) >= (RULES.max_failures or 0)
            or (len(within) >= RULES.min_calls and sum(within) >= RULES.failure_rate * len(within))
        ):
            self.change("open", now)


class CircuitBesideItsModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.circuit = Circuit(RULES)
        self.model = ObviousCircuit()
        self.under_way: list[tuple[Permit, object]] = []

    @initialize(failures=st.sampled_from([0, 3, 4]))
    def fail(self, failures: int) -> None:
        for _ in range(failures):
            self.begin(1)
            self.end(True, 0, 1)

    @rule(times=st.integers(1, 4))
    def begin(self, times: int) -> None:
        for _ in range(times):
            given, expected = (
                self.circuit.admit(self.now, self.now + 1e6),
                self.model.admit(self.now),
            )
            if expected is None:
                assert isinstance(given, float)
                assert 0 < given <= RULES.open_for
                if self.model.state == "open":
                    assert given == self.model.since + RULES.open_for - self.now
            else:
                assert isinstance(given, Permit)
                self.under_way.append((given, expected))

    @rule(
        failed=st.sampled_from([True, True, False, None]),
        which=st.integers(0, 100),
        times=st.integers(1, 4),
    )
    def end(self, failed: bool | None, which: int, times: int) -> None:
        for _ in range(min(times, len(self.under_way))):
            permit, expected = self.under_way.pop(which % len(self.under_way))
            {True: permit.failed, False: permit.succeeded, None: permit.neither}[failed](self.now)
            self.model.end(expected, self.now, failed)

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 10.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def both_are_in_one_state(self) -> None:
        expected: Any = self.model.state
        if expected == "open" and self.now >= self.model.since + RULES.open_for:
            expected = "half-open"
        if self.circuit._state != expected:  # a look is what makes it half-open
            assert self.circuit.state(self.now) == expected
            self.model.change("half-open", self.now)
        assert len(self.circuit._buckets) <= BUCKETS


TestCircuitBesideItsModel = CircuitBesideItsModel.TestCase
TestCircuitBesideItsModel.settings = settings(
    deadline=None, max_examples=80, stateful_step_count=40
)


def admitted(circuit: Circuit, now: float, until: float = 1e9) -> Permit:
    permit = circuit.admit(now, until)
    assert isinstance(permit, Permit)
    return permit


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit(RULES)
    for _ in range(RULES.min_calls):
        admitted(circuit, now).failed(now)
    assert circuit.state(now) == "open"
    return circuit


@pytest.mark.parametrize(("last", "state"), [(9.5, "open"), (10.0, "closed")])
def test_a_call_counts_for_as_long_as_the_window(last: float, state: str) -> None:
    circuit = Circuit(RULES)
    for at in (0.0, 0.0, 0.0, last):
        admitted(circuit, at).failed(at)
    assert circuit.state(last) == state


def test_it_closes_when_all_probes_have_gone_well() -> None:
    circuit = opened()
    first, second = admitted(circuit, 20.0), admitted(circuit, 20.0)
    first.succeeded(21.0)
    assert circuit.state(21.0) == "half-open"
    second.succeeded(22.0)
    assert circuit.state(22.0) == "closed"


def test_failures_of_long_ago_do_not_count() -> None:
    circuit = Circuit(RULES)
    for at in (0.0, 0.0, 0.0, 11.0, 11.0, 11.0):
        admitted(circuit, at).failed(at)
    assert circuit.state(11.0) == "closed"
    admitted(circuit, 11.0).failed(11.0)
    assert circuit.state(11.0) == "open"


def test_a_few_among_many_do_not_open_it() -> None:
    circuit = Circuit(RULES)
    for _ in range(10):
        admitted(circuit, 0).succeeded(0)
    for _ in range(4):
        admitted(circuit, 0).failed(0)
    assert circuit.state(0) == "closed"
    admitted(circuit, 0).failed(0)  # but five are too many, whatever the rate
    assert circuit.state(0) == "open"


def test_what_was_begun_before_it_opened_does_not_close_it() -> None:
    circuit = Circuit(RULES)
    slow = admitted(circuit, 0)
    for _ in range(4):
        admitted(circuit, 0).failed(0)
    assert circuit.state(20.0) == "half-open"
    slow.failed(20.0)
    assert circuit.state(20.0) == "half-open"


@pytest.mark.parametrize("end", ["neither", "lost"])
def test_a_probe_that_tells_nothing_makes_room_for_another(end: str) -> None:
    circuit = opened()
    probes = [admitted(circuit, 20.0, until=25.0) for _ in range(2)]
    assert circuit.admit(20.0, 25.0) == 1.0
    if end == "neither":
        probes[0].neither(20.0)
        admitted(circuit, 20.0)
    else:
        assert circuit.admit(24.9, 30.0) == 1.0
        admitted(circuit, 25.0)
