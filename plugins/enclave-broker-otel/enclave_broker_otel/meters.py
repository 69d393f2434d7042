"""Every instrument, made of the table of names, and what is recorded with each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from enclave_broker_core.calls import RunOutcome
from enclave_broker_core.errors import BrokerError, RateLimitedError
from enclave_broker_core.models import SessionRecord, ToolSpec
from enclave_broker_core.stats import BrokerStats
from enclave_broker_core.tracing import CallEnd

from . import names
from .bounded import OTHER, Bounded, tool_label
from .names import METRICS
from .tallies import Tallies

DENIALS = frozenset({"ACCESS_DENIED", "APPROVAL_REQUIRED"})
CODES = 100

Observed = Callable[[BrokerStats], Iterable[Observation]]


class Meters:
    """What is counted and timed. The gauges show what ``latest`` was set to last.

    They are read by the exporter's thread, which must not look into a broker at work.
    """

    def __init__(self, meter: Meter, tallies: Tallies, max_values: int) -> None:
        self._tools = Bounded(max_values)
        self._rules = Bounded(max_values)
        self._codes = Bounded(CODES)
        self.latest: BrokerStats | None = None
        counts, times = tallies.counts, tallies.times
        self._calls = counts["enclave.tool.calls"].add
        self._durations = times["gen_ai.execute_tool.duration"].record
        self._denials = counts["enclave.access.denials"].add
        self._refusals = counts["enclave.limiter.refusals"].add
        self._runs = times["enclave.run.duration"].record
        self._started = counts["enclave.sessions.started"].add
        self._sessions = times["enclave.session.duration"].record
        self._lag = times["enclave.event_loop.lag"].record
        self._stored = times["enclave.store.operation.duration"].record
        self._requests = times["http.server.request.duration"].record
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
        tool = tool_label(spec, self._tools)
        self._durations(seconds, tool, end.outcome)
        if end.code is None:
            self._calls(tool, end.outcome, None)
            return
        code = self._codes.of(end.code)
        self._calls(tool, end.outcome, code)
        if isinstance(end.error, RateLimitedError):
            self._refusals(end.error.scope)
        elif code in DENIALS:
            rule = OTHER if end.decision is None else self._rules.of(end.decision.rule)
            self._denials(rule, code)

    def run(self, outcome: RunOutcome | None, seconds: float) -> None:
        if outcome is None:
            self._runs(seconds, "cancelled", None)
        elif outcome.error is None:
            self._runs(seconds, "ok", None)
        else:
            error = outcome.error
            code = self._codes.of(error.code) if isinstance(error, BrokerError) else OTHER
            self._runs(seconds, "error", code)

    def session_began(self) -> None:
        self._started()

    def session_ended(self, record: SessionRecord, code: str | None) -> None:
        seconds = max(0.0, (record.ended_at or record.created_at) - record.created_at)
        known = None if code is None else self._codes.of(code)
        self._sessions(seconds, record.state.value, known)

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        self._requests(seconds, method, route, status or None)

    def stored(self, operation: str, seconds: float) -> None:
        self._stored(seconds, operation)

    def lagged(self, seconds: float) -> None:
        self._lag(seconds)


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
