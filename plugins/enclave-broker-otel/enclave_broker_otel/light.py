"""Spans as OpenTelemetry's API has them, at a third of what the SDK's own cost.

The SDK checks and copies each attribute, takes a lock for each change, and asks the sampler also
where its answer is known. These are made by the broker, of attributes that it knows. Sampler,
ids, resource, processors and exporters are the SDK's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.util.types import Attributes, AttributeValue

# Of one span; what a handler adds over that is left out.
MOST_ATTRIBUTES = 128
MOST_EVENTS = 128

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
NOT_SAMPLED = TraceFlags(TraceFlags.DEFAULT)
UNSET = Status(StatusCode.UNSET)
# How a sampler says of itself that a span is kept when its parent in this process is.
AS_THE_PARENT = ("localParentSampled:AlwaysOnSampler", "localParentNotSampled:AlwaysOffSampler")


class LightTracer:
    """Begins spans, and hands those that ended to the processors."""

    def __init__(
        self,
        sampler: Sampler,
        ids: IdGenerator,
        resource: Resource,
        scope: InstrumentationScope,
        processors: Sequence[SpanProcessor],
    ) -> None:
        self._sampler = sampler
        described = sampler.get_description()
        self._as_parent = all(one in described for one in AS_THE_PARENT)
        self._ids = ids
        self.resource = resource
        self.scope = scope
        self.processors = tuple(processors)

    def start(
        self,
        name: str,
        parent: Context,
        attributes: dict[str, AttributeValue],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
    ) -> trace.Span:
        above: SpanContext | None = trace.get_current_span(parent).get_span_context()
        if above is None or not above.is_valid:
            above, trace_id = None, self._ids.generate_trace_id()
        else:
            trace_id = above.trace_id
        if self._as_parent and above is not None and not above.is_remote:
            flags, state = above.trace_flags, above.trace_state
            if not flags.sampled:
                return trace.NonRecordingSpan(above)
        else:
            said = self._sampler.should_sample(parent, trace_id, name, kind, attributes, links)
            flags = SAMPLED if said.decision is Decision.RECORD_AND_SAMPLE else NOT_SAMPLED
            state = said.trace_state or TraceState()
            if said.decision is Decision.DROP:
                own = SpanContext(trace_id, self._ids.generate_span_id(), False, flags, state)
                return trace.NonRecordingSpan(own)
            attributes.update(said.attributes or {})
        context = SpanContext(trace_id, self._ids.generate_span_id(), False, flags, state)
        return LightSpan(self, name, context, above, attributes, kind, links)


class LightSpan(trace.Span):
    """One span under way. It is for one thread; what comes after its end is left out."""

    __slots__ = (
        "_above",
        "_attributes",
        "_began",
        "_context",
        "_ended",
        "_events",
        "_kind",
        "_links",
        "_name",
        "_status",
        "_tracer",
    )

    def __init__(
        self,
        tracer: LightTracer,
        name: str,
        context: SpanContext,
        above: SpanContext | None,
        attributes: dict[str, AttributeValue],
        kind: SpanKind,
        links: Sequence[Link],
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._context = context
        self._above = above
        self._attributes = attributes
        self._kind = kind
        self._links = links
        self._events: list[Event] | None = None
        self._status = UNSET
        self._ended = False
        self._began = time.time_ns()

    def get_span_context(self) -> SpanContext:
        return self._context

    def is_recording(self) -> bool:
        return not self._ended

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        attributes = self._attributes
        if not self._ended and (len(attributes) < MOST_ATTRIBUTES or key in attributes):
            attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        events = self._events = [] if self._events is None else self._events
        if not self._ended and len(events) < MOST_EVENTS:
            events.append(Event(name, attributes, timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        if not self._ended and len(self._links) < MOST_EVENTS:
            self._links = (*self._links, Link(context, attributes))

    def update_name(self, name: str) -> None:
        if not self._ended:
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        if not self._ended:
            self._status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Its type only: a message or a traceback may hold what must not leave the process."""
        kind = f"{type(exception).__module__}.{type(exception).__qualname__}"
        more: dict[str, Any] = dict(attributes or {})
        self.add_event("exception", {"exception.type": kind, **more}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        tracer = self._tracer
        done = ReadableSpan(
            self._name,
            self._context,
            self._above,
            tracer.resource,
            self._attributes,
            self._events or (),
            self._links,
            self._kind,
            None,
            self._status,
            self._began,
            time.time_ns() if end_time is None else end_time,
            tracer.scope,
        )
        for processor in tracer.processors:
            processor.on_end(done)
