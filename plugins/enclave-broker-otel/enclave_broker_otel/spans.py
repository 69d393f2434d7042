"""The spans of sessions, runs, calls and requests, and how they hang together.

A span is a child of the call or run of its own session that it is made in. Else it is a child of
its session, unless whoever asks for it is in another trace: then it is a child there, and is
linked to its session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.models import SessionRecord, SessionState, ToolSpec
from enclave_broker_core.redaction import Redactor

from . import names
from .bounded import CLIENT, LONGEST, known_method
from .light import LightTracer
from .where import KEY, Where

_PROPAGATOR = TraceContextTextMapPropagator()


class Spans:
    """Begins spans, and knows those of the sessions that have not ended."""

    def __init__(self, tracer: LightTracer) -> None:
        self._tracer = tracer
        self._sessions: dict[str, Span] = {}

    def session(self, record: SessionRecord) -> None:
        who = record.principal
        attributes: dict[str, AttributeValue] = {names.SESSION: record.id}
        if who is not None:
            attributes[names.PRINCIPAL] = who.id
            if who.tenant is not None:
                attributes[names.TENANT] = who.tenant
        self._sessions[record.id] = self._tracer.start(
            "session", contexts.get_current(), attributes
        )

    def session_ended(self, record: SessionRecord, code: str | None) -> None:
        span = self._sessions.pop(record.id, None)
        if span is None:
            return
        span.set_attribute(names.STATE, record.state.value)
        span.set_attribute(names.CALLS, record.tool_calls)
        if code is not None:
            span.set_attribute(names.ERROR, code)
        if record.state is SessionState.FAILED:
            span.set_status(Status(StatusCode.ERROR, code))
        span.end()

    def close(self) -> None:
        """End what is left: another tracer has these sessions from now on."""
        for span in self._sessions.values():
            span.end()
        self._sessions.clear()

    def run(self, session_id: str, run_id: str) -> Span:
        parent, links = self._parent(session_id)
        attributes: dict[str, AttributeValue] = {names.SESSION: session_id, names.RUN: run_id}
        return self._tracer.start("run", parent, attributes, links=links)

    def call(self, call: ToolCall, spec: ToolSpec | None, redactor: Redactor) -> Span:
        session_id = call.session_id
        parent, links = self._parent(session_id)
        name = redactor.text(call.name)[:LONGEST] if spec is None else spec.name
        return self._tracer.start(
            # What callers make up is no name to group spans by.
            "execute_tool" if spec is None else f"execute_tool {name}",
            parent,
            {
                names.GEN_AI: "execute_tool",
                names.TOOL: name,
                names.TYPE: "function" if name.startswith(CLIENT) else "extension",
                names.CALL: redactor.text(call.id),
                names.SESSION: session_id,
            },
            links=links,
        )

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Span:
        carrier = {key: headers[key] for key in ("traceparent", "tracestate") if key in headers}
        return self._tracer.start(
            known_method(method),
            _PROPAGATOR.extract(carrier, contexts.get_current()),
            {names.METHOD: known_method(method), names.PATH: path},
            kind=SpanKind.SERVER,
        )

    def _parent(self, session_id: str) -> tuple[Context, Sequence[Link]]:
        current = contexts.get_current()
        where = current.get(KEY)
        if type(where) is Where and where.session == session_id:
            return current, ()
        session = self._sessions.get(session_id)
        if session is None:
            return current, ()
        its = session.get_span_context()
        asking = trace.get_current_span(current).get_span_context()
        if asking.is_valid and asking.trace_id != its.trace_id:
            return current, (Link(its),)
        return trace.set_span_in_context(session, current), ()


def outgoing() -> Sequence[tuple[str, str]]:
    """W3C's headers for a request that is made now. Baggage is not passed on to services."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return tuple(carrier.items())
