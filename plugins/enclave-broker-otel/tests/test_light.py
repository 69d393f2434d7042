"""Spans and tallies of its own are what the SDK's would be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from enclave_broker_otel.light import MOST_ATTRIBUTES, LightTracer
from enclave_broker_otel.names import METRICS
from enclave_broker_otel.tallies import Counts, Times
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags

NAME = "gen_ai.execute_tool.duration"
BOUNDS = METRICS[NAME].buckets


def only(data: MetricsData | None) -> Any:
    assert data is not None
    ((scope,),) = [resource.scope_metrics for resource in data.resource_metrics]
    (metric,) = scope.metrics
    return metric.data.data_points


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(0, 60) | st.sampled_from(BOUNDS), st.sampled_from(["a", "b"])),
        min_size=1,
        max_size=30,
    )
)
def test_a_histogram_is_what_the_sdks_is(measured: Sequence[tuple[float, str]]) -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    theirs = meter.create_histogram(NAME, explicit_bucket_boundaries_advisory=BOUNDS)
    ours = Times(NAME, METRICS[NAME])
    for seconds, tool in measured:
        theirs.record(seconds, {"gen_ai.tool.name": tool, "enclave.outcome": "ok"})
        ours.record(seconds, tool, "ok")
    exported = ours.exported(time.time_ns())
    assert exported is not None
    wanted, made = (
        {
            point.attributes["gen_ai.tool.name"]: (
                dict(point.attributes),
                point.count,
                pytest.approx(point.sum),
                list(point.bucket_counts),
                list(point.explicit_bounds),
                point.min,
                point.max,
            )
            for point in points
        }
        for points in (only(reader.get_metrics_data()), exported.data.data_points)
    )
    assert made == wanted


def test_what_was_never_counted_is_not_exported() -> None:
    counts = Counts("enclave.limiter.refusals", METRICS["enclave.limiter.refusals"])
    assert counts.exported(0) is None
    counts.add("global")
    counts.add("global")
    exported = counts.exported(7)
    assert exported is not None
    (point,) = exported.data.data_points
    assert (point.attributes, point.value) == ({"enclave.limit.scope": "global"}, 2)


PARENTS = {
    "none": None,
    "here, kept": (False, TraceFlags.SAMPLED),
    "here, not kept": (False, TraceFlags.DEFAULT),
    "elsewhere, kept": (True, TraceFlags.SAMPLED),
    "elsewhere, not kept": (True, TraceFlags.DEFAULT),
}
SAMPLERS = [
    ALWAYS_ON,
    ALWAYS_OFF,
    ParentBased(ALWAYS_ON),
    ParentBased(ALWAYS_OFF),
    ParentBased(TraceIdRatioBased(0.5)),
    TraceIdRatioBased(0.5),
    ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF),
    ParentBased(ALWAYS_ON, local_parent_not_sampled=ALWAYS_ON),
    ParentBased(ALWAYS_ON, remote_parent_not_sampled=ALWAYS_ON),
]


class Fixed:
    """Ids that are the same for both tracers."""

    def __init__(self, trace_id: int) -> None:
        self.trace_id = trace_id

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return 0xABC

    def is_trace_id_random(self) -> bool:
        return False


@pytest.mark.parametrize("parent", PARENTS)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda one: one.get_description())
@pytest.mark.parametrize("trace_id", [1, 2**64 - 2])
def test_a_span_is_kept_when_the_sdks_is(parent: str, sampler: Sampler, trace_id: int) -> None:
    above = PARENTS[parent]
    context = Context()
    if above is not None:
        remote, flags = above
        its = SpanContext(trace_id, 0xDEF, remote, TraceFlags(flags))
        context = trace.set_span_in_context(NonRecordingSpan(its))
    provider = TracerProvider(sampler, id_generator=Fixed(trace_id), shutdown_on_exit=False)
    theirs = provider.get_tracer("test").start_span("x", context)
    mine, _ = tracer(sampler, trace_id)
    ours = mine.start("x", context, {})
    assert ours.is_recording() == theirs.is_recording()
    wanted, made = theirs.get_span_context(), ours.get_span_context()
    assert (made.trace_id, made.trace_flags) == (wanted.trace_id, wanted.trace_flags)


def tracer(sampler: Sampler, trace_id: int = 1) -> tuple[LightTracer, InMemorySpanExporter]:
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    made = LightTracer(
        sampler,
        Fixed(trace_id),
        provider.resource,
        InstrumentationScope("test"),
        [SimpleSpanProcessor(kept)],
    )
    return made, kept


def test_what_a_handler_adds_is_bounded_and_ends_with_the_span() -> None:
    mine, kept = tracer(ALWAYS_ON)
    span = mine.start("x", Context(), {"a": 1})
    for number in range(1000):
        span.set_attribute(f"key{number}", number)
        span.add_event("again")
    span.set_attribute("a", 2)
    span.record_exception(ValueError("a secret"))
    span.set_status(StatusCode.ERROR, "bad")
    span.add_link(SpanContext(5, 6, False))
    span.end()
    span.end()
    span.set_attribute("a", 3)
    span.update_name("y")
    (done,) = kept.get_finished_spans()
    assert isinstance(done, ReadableSpan)
    assert (done.name, done.status.description) == ("x", "bad")
    assert dict(done.attributes or {})["a"] == 2
    assert len(done.attributes or {}) == MOST_ATTRIBUTES
    assert len(done.events) == 128
    assert [link.context.span_id for link in done.links] == [6]
    assert "a secret" not in done.to_json()
