"""Every instrument, made of the table of names, and what is recorded with each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

from enclave_broker_core.calls import RunOutcome
from enclave_broker_core.errors import BrokerError, RateLimitedError
from enclave_broker_core.models import SessionRecord, ToolSpec
from enclave_broker_core.stats import BrokerStats
from enclave_broker_core.tracing import CallEnd

from . import names
from .bounded import OTHER, Bounded, known_method, tool_label
from .names import METRICS

DENIALS = frozenset({"ACCESS_DENIED", "APPROVAL_REQUIRED"})
CODES = 100

Observed = Callable[[BrokerStats], Iterable[Observation]]


class Meters:
    """What is counted and timed. The gauges show what ``latest`` was set to last.

    They are read by the exporter's thread, which must not look into a broker at work.
    """

    def __init__(self, meter: Meter, max_values: int) -> None:
        self._tools = Bounded(max_values)
        self._rules = Bounded(max_values)
        self._codes = Bounded(CODES)
        self.latest: BrokerStats | None = None
        counters = {
            name: meter.create_counter(name, metric.unit, metric.description)
            for name, metric in METRICS.items()
            if metric.kind == "counter"
        }
        histograms = {
            name: meter.create_histogram(
                name,
                metric.unit,
                metric.description,
                explicit_bucket_boundaries_advisory=metric.buckets,
            )
            for name, metric in METRICS.items()
            if metric.kind == "histogram"
        }
        self._calls: Counter = counters["enclave.tool.calls"]
        self._durations: Histogram = histograms["gen_ai.execute_tool.duration"]
        self._denials = counters["enclave.access.denials"]
        self._refusals = counters["enclave.limiter.refusals"]
        self._runs = histograms["enclave.run.duration"]
        self._started = counters["enclave.sessions.started"]
        self._sessions = histograms["enclave.session.duration"]
        self._lag = histograms["enclave.event_loop.lag"]
        self._stored = histograms["enclave.store.operation.duration"]
        self._requests = histograms["http.server.request.duration"]
        for name, observed in OBSERVED.items():
            metric = METRICS[name]
            make = (
                meter.create_observable_gauge
                if metric.kind == "gauge"
                else meter.create_observable_counter
            )
            make(name, [self._reading(observed)], metric.unit, metric.description)

    def _reading(self, observed: Observed) -> Callable[[CallbackOptions], Sequence[Observation]]:
        def read(options: CallbackOptions) -> Sequence[Observation]:
            stats = self.latest
            return () if stats is None else tuple(observed(stats))

        return read

    def call(self, spec: ToolSpec | None, end: CallEnd, seconds: float) -> None:
        attributes: dict[str, Any] = {
            names.TOOL: tool_label(spec, self._tools),
            names.OUTCOME: end.outcome,
        }
        self._durations.record(seconds, attributes)
        if end.code is None:
            self._calls.add(1, attributes)
            return
        code = self._codes.of(end.code)
        self._calls.add(1, {**attributes, names.ERROR: code})
        if isinstance(end.error, RateLimitedError):
            self._refusals.add(1, {names.SCOPE: end.error.scope})
        elif code in DENIALS:
            rule = OTHER if end.decision is None else self._rules.of(end.decision.rule)
            self._denials.add(1, {names.RULE: rule, names.ERROR: code})

    def run(self, outcome: RunOutcome | None, seconds: float) -> None:
        self._runs.record(seconds, run_attributes(outcome, self._codes))

    def session_began(self) -> None:
        self._started.add(1)

    def session_ended(self, record: SessionRecord, code: str | None) -> None:
        attributes = {names.STATE: record.state.value}
        if code is not None:
            attributes[names.ERROR] = self._codes.of(code)
        ended_at = record.ended_at or record.created_at
        self._sessions.record(max(0.0, ended_at - record.created_at), attributes)

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        attributes: dict[str, Any] = {names.METHOD: known_method(method)}
        if route is not None:
            attributes[names.ROUTE] = route
        if status:
            attributes[names.STATUS] = status
        self._requests.record(seconds, attributes)

    def stored(self, operation: str, seconds: float) -> None:
        self._stored.record(seconds, {names.OPERATION: operation})

    def lagged(self, seconds: float) -> None:
        self._lag.record(seconds)


def run_attributes(outcome: RunOutcome | None, codes: Bounded) -> dict[str, str]:
    """How a run ended; the code is that of its error."""
    if outcome is None:
        return {names.OUTCOME: "cancelled"}
    if outcome.error is None:
        return {names.OUTCOME: "ok"}
    code = outcome.error.code if isinstance(outcome.error, BrokerError) else OTHER
    return {names.OUTCOME: "error", names.ERROR: codes.of(code)}


def _sessions(stats: BrokerStats) -> Iterable[Observation]:
    # The states that there can be, so that one that is empty is seen to be.
    for state in ("starting", "running", "waiting_for_tool"):
        yield Observation(stats.sessions.get(state, 0), {names.STATE: state})


def _queues(stats: BrokerStats) -> Iterable[Observation]:
    for name, length in stats.queues.items():
        yield Observation(length, {names.QUEUE: name})


def _workers(stats: BrokerStats) -> Iterable[Observation]:
    for runtime, counts in stats.runtimes.items():
        busy = counts.get("busy", 0)
        idle = counts.get("workers", 0) - busy
        for state, count in (("busy", busy), ("idle", idle)):
            yield Observation(count, {names.RUNTIME: runtime, names.WORKER: state})


def _waiting(stats: BrokerStats) -> Iterable[Observation]:
    for runtime, counts in stats.runtimes.items():
        yield Observation(counts.get("waiting", 0), {names.RUNTIME: runtime})


OBSERVED: Mapping[str, Observed] = {
    "enclave.sessions": _sessions,
    "enclave.queue.length": _queues,
    "enclave.sandbox.workers": _workers,
    "enclave.sandbox.waiting": _waiting,
    "enclave.abandoned.threads": lambda stats: [Observation(stats.abandoned_threads)],
    "enclave.abandoned.handlers": lambda stats: [Observation(stats.abandoned_handlers)],
    "enclave.observations.dropped": lambda stats: [Observation(stats.dropped_observations)],
    "enclave.tools": lambda stats: [Observation(stats.tools)],
}
