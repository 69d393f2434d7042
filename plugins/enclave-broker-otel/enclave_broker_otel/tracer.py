"""The tracer: what the broker tells it becomes spans and measurements, as far as these are on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode
from prometheus_client import CollectorRegistry, generate_latest
from pydantic_core import to_json

from enclave_broker_core.calls import RunOutcome, ToolCall
from enclave_broker_core.errors import BrokerError, RateLimitedError
from enclave_broker_core.models import SessionRecord, ToolSpec
from enclave_broker_core.redaction import Redactor
from enclave_broker_core.stats import BrokerStats
from enclave_broker_core.tracing import CallEnd, Headers

from . import names
from .bounded import known_method
from .config import OtelConfig
from .meters import Meters
from .spans import Spans, outgoing
from .where import KEY, Where

CUT = "…"


class OtelTracer:
    """What the broker tells it becomes spans and measurements, at once and in memory.

    Exporters send them from threads of their own. ``registry`` is what Prometheus reads.
    """

    def __init__(
        self,
        config: OtelConfig,
        spans: Spans | None,
        meters: Meters | None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._config = config
        self._spans = spans
        self._meters = meters
        self._principals: dict[str, str | None] = {}
        self._stats: Callable[[], BrokerStats] | None = None
        self.registry = registry

    def attach(self, stats: Callable[[], BrokerStats]) -> None:
        self._stats = stats
        self.sample()

    def sample(self) -> None:
        """Have the gauges show how the broker is now; for its own event loop."""
        if self._meters is not None and self._stats is not None:
            self._meters.latest = self._stats()

    def session_began(self, record: SessionRecord) -> None:
        self._principals[record.id] = record.principal_id
        if self._spans is not None:
            self._spans.session(record)
        if self._meters is not None:
            self._meters.session_began()

    def session_ended(self, record: SessionRecord, code: str | None) -> None:
        self._principals.pop(record.id, None)
        if self._spans is not None:
            self._spans.session_ended(record, code)
        if self._meters is not None:
            self._meters.session_ended(record, code)

    def run(self, session_id: str, run_id: str) -> RunFollowed:
        span = None if self._spans is None else self._spans.run(session_id, run_id)
        where = Where(session_id, None, self._principals.get(session_id))
        return RunFollowed(span, self._meters, where)

    def call(
        self, call: ToolCall, spec: ToolSpec | None, redactor: Redactor
    ) -> Callable[[CallEnd], None]:
        principal = call.principal
        current = contexts.get_current()
        span = None
        if self._spans is not None:
            span = self._spans.call(call, spec, redactor)
            current = trace.set_span_in_context(span, current)
            if self._config.arguments and span.is_recording():
                shown = redactor.json(call.arguments_json)
                span.set_attribute(names.ARGUMENTS, self._cut(shown))
        where = Where(call.session_id, call.id, None if principal is None else principal.id)
        token = contexts.attach(contexts.set_value(KEY, where, current))
        return CallFollowed(self, spec, span, token).ended

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> RequestFollowed:
        span = None
        if self._spans is not None:
            span = self._spans.request(method, path, headers)
        return RequestFollowed(span, self._meters, method)

    def headers(self) -> Headers:
        return () if self._spans is None else outgoing()

    def stored(self, operation: str, seconds: float) -> None:
        if self._meters is not None:
            self._meters.stored(operation, seconds)

    def page(self) -> str:
        """The metrics as Prometheus reads them; empty without such an exporter."""
        self.sample()
        return "" if self.registry is None else generate_latest(self.registry).decode()

    def lagged(self, seconds: float) -> None:
        if self._meters is not None:
            self._meters.lagged(seconds)

    def close(self) -> None:
        if self._spans is not None:
            self._spans.close()

    def call_ended(
        self, spec: ToolSpec | None, span: Span | None, end: CallEnd, seconds: float
    ) -> None:
        if self._meters is not None:
            self._meters.call(spec, end, seconds)
        if span is None:
            return
        if span.is_recording():
            self._describe(span, end)
        span.end()

    def _describe(self, span: Span, end: CallEnd) -> None:
        span.set_attribute(names.OUTCOME, end.outcome)
        if end.decision is not None:
            span.set_attribute(names.RULE, end.decision.rule)
        if end.code is not None:
            span.set_attribute(names.ERROR, end.code)
        if isinstance(end.error, RateLimitedError):
            span.set_attribute(names.SCOPE, end.error.scope)
        if end.outcome in ("error", "refused"):
            said = None if end.error is None else end.error.message
            span.set_status(Status(StatusCode.ERROR, said))
        if self._config.results and end.outcome == "ok":
            span.set_attribute(names.RESULT, self._cut(to_json(end.result)))

    def _cut(self, text: bytes) -> str:
        most = self._config.max_content_bytes
        if len(text) <= most:
            return text.decode()
        return text[:most].decode(errors="ignore") + CUT


class CallFollowed:
    """One call under way."""

    __slots__ = ("_began", "_span", "_spec", "_token", "_tracer")

    def __init__(
        self,
        tracer: OtelTracer,
        spec: ToolSpec | None,
        span: Span | None,
        token: Token[Context],
    ) -> None:
        self._tracer = tracer
        self._spec = spec
        self._span = span
        self._token = token
        self._began = time.perf_counter()

    def ended(self, end: CallEnd) -> None:
        # First, while its context is still there: a measurement may keep the trace's id.
        seconds = time.perf_counter() - self._began
        try:
            self._tracer.call_ended(self._spec, self._span, end, seconds)
        finally:
            contexts.detach(self._token)


class RunFollowed:
    """One run under way. Its calls are made in tasks of the runtime, which come ``within``."""

    def __init__(self, span: Span | None, meters: Meters | None, where: Where) -> None:
        self._span = span
        self._meters = meters
        self._where = where
        self._began = time.perf_counter()

    @contextmanager
    def within(self) -> Iterator[None]:
        current = contexts.get_current()
        if self._span is not None:
            current = trace.set_span_in_context(self._span, current)
        token = contexts.attach(contexts.set_value(KEY, self._where, current))
        try:
            yield
        finally:
            contexts.detach(token)

    def end(self, outcome: RunOutcome | None) -> None:
        if self._meters is not None:
            self._meters.run(outcome, time.perf_counter() - self._began)
        span = self._span
        if span is None:
            return
        error = None if outcome is None else outcome.error
        if outcome is None:
            span.set_attribute(names.OUTCOME, "cancelled")
        else:
            span.set_attribute(names.OUTCOME, "ok" if error is None else "error")
        if isinstance(error, BrokerError):
            span.set_attribute(names.ERROR, error.code)
            span.set_status(Status(StatusCode.ERROR, error.message))
        span.end()


class RequestFollowed:
    """One request that is being answered, by the task that this is made and ended in."""

    def __init__(self, span: Span | None, meters: Meters | None, method: str) -> None:
        self._span = span
        self._meters = meters
        self._method = known_method(method)
        self._began = time.perf_counter()
        self._token: Token[Context] | None = None
        if span is not None:
            self._token = contexts.attach(trace.set_span_in_context(span))

    def end(self, route: str | None, status: int) -> None:
        if self._meters is not None:
            seconds = time.perf_counter() - self._began
            self._meters.request(self._method, route, status, seconds)
        span = self._span
        if span is None:
            return
        if route is not None:
            span.update_name(f"{self._method} {route}")
            span.set_attribute(names.ROUTE, route)
        if status:
            span.set_attribute(names.STATUS, status)
        if status >= 500:
            span.set_attribute(names.ERROR, str(status))
            span.set_status(Status(StatusCode.ERROR))
        span.end()
        if self._token is not None:
            contexts.detach(self._token)
