"""Providers of spans and measurements, by the configuration and the ``OTEL_*`` variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args
from uuid import uuid4

from importlib_metadata import version
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry

from enclave_broker_core.errors import ConfigError

from .config import MetricExport, OtelConfig, TraceExport
from .light import LightTracer
from .tallies import Tallies

SCOPE = "enclave-broker"
PATHS: Mapping[str, str] = {"TRACES": "/v1/traces", "METRICS": "/v1/metrics"}


@dataclass
class Providers:
    """Those that there are to be; ``registry`` is what Prometheus reads."""

    tracing: TracerProvider | None = None
    tracer: LightTracer | None = None
    metering: MeterProvider | None = None
    tallies: Tallies = field(default_factory=Tallies)
    registry: CollectorRegistry | None = None

    def shut_down(self) -> None:
        """Export what there is and stop; blocks until then, as long as an export may take."""
        if self.tracing is not None:
            self.tracing.shutdown()
        if self.metering is not None:
            self.metering.shutdown()


class Periodically(PeriodicExportingMetricReader):
    """Has an exporter send the gauges and the tallies from time to time."""

    def __init__(self, tallies: Tallies, exporter: MetricExporter, interval: float | None) -> None:
        self._tallies = tallies
        super().__init__(exporter, interval)

    def _receive_metrics(self, metrics_data: MetricsData, *given: Any, **more: Any) -> None:
        super()._receive_metrics(self._tallies.beside(metrics_data), *given, **more)


class WhenAsked(PrometheusMetricReader):
    """Shows the gauges and the tallies to whoever reads ``registry``."""

    def __init__(self, tallies: Tallies, registry: CollectorRegistry) -> None:
        self._tallies = tallies
        super().__init__(scope_info_enabled=False, registry=registry)

    def _receive_metrics(self, metrics_data: MetricsData, *given: Any, **more: Any) -> None:
        super()._receive_metrics(self._tallies.beside(metrics_data), *given, **more)


@dataclass(frozen=True)
class Variables:
    """What the environment says, as the specification of OpenTelemetry has it."""

    given: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def disabled(self) -> bool:
        return self.given.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"

    def exporters(self, signal: str) -> tuple[str, ...]:
        """``OTEL_TRACES_EXPORTER`` and the like; without one, OTLP where a collector is named."""
        said = self.given.get(f"OTEL_{signal}_EXPORTER", "").strip()
        if said:
            return tuple(one.strip() for one in said.split(",") if one.strip())
        named = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        return ("otlp",) if any(self.given.get(name) for name in named) else ()


def make_providers(config: OtelConfig, variables: Variables) -> Providers:
    """The providers, at work; ConfigError for an exporter that there is none of here."""
    made = Providers()
    if variables.disabled:
        return made
    resource = _resource(config)
    traces = [config.traces] if config.traces else variables.exporters("TRACES")
    _require(traces, get_args(TraceExport), "OTEL_TRACES_EXPORTER")
    if "none" not in traces and traces:
        _trace(made, config, resource, tuple(traces))
    metrics = variables.exporters("METRICS") if config.metrics is None else config.metrics
    _require(metrics, get_args(MetricExport), "OTEL_METRICS_EXPORTER")
    if "none" not in metrics and metrics:
        made.metering = _metering(config, resource, tuple(metrics), made)
    return made


def _require(chosen: Any, known: tuple[str, ...], variable: str) -> None:
    for name in chosen:
        if name not in known:
            raise ConfigError(f"{variable} names {name!r}; there is {', '.join(known)}")


def _resource(config: OtelConfig) -> Resource:
    attributes: dict[str, Any] = {
        SERVICE_VERSION: version("enclave-broker-core"),
        SERVICE_INSTANCE_ID: str(uuid4()),
    }
    if not (os.environ.get("OTEL_SERVICE_NAME") or _names_service()):
        attributes[SERVICE_NAME] = SCOPE
    if config.service is not None:
        attributes[SERVICE_NAME] = config.service
    # What is in the file goes over the variables, which go over what is said here.
    from_variables = Resource.create({})
    if config.service is None and SERVICE_NAME not in attributes:
        return Resource(attributes).merge(from_variables).merge(Resource(dict(config.resource)))
    return from_variables.merge(Resource({**attributes, **config.resource}))


def _names_service() -> bool:
    return f"{SERVICE_NAME}=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")


def _otlp(config: OtelConfig, signal: str) -> dict[str, Any]:
    """What the configuration says of a collector; the exporter asks the variables for the rest."""
    given: dict[str, Any] = {}
    if config.endpoint is not None:
        given["endpoint"] = config.endpoint.rstrip("/") + PATHS[signal]
    if config.headers:
        given["headers"] = {key: item.get_secret_value() for key, item in config.headers.items()}
    return given


def _trace(
    made: Providers, config: OtelConfig, resource: Resource, exporters: tuple[str, ...]
) -> None:
    sampler = None if config.sample is None else ParentBasedTraceIdRatio(config.sample)
    provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
    processors: list[SpanProcessor] = []
    for name in exporters:
        if name == "otlp":
            exporter = OTLPSpanExporter(**_otlp(config, "TRACES"))
            processors.append(BatchSpanProcessor(exporter))
        else:
            processors.append(SimpleSpanProcessor(ConsoleSpanExporter()))
        provider.add_span_processor(processors[-1])
    made.tracing = provider
    scope = InstrumentationScope(SCOPE, version("enclave-broker-otel"))
    made.tracer = LightTracer(
        provider.sampler, provider.id_generator, provider.resource, scope, processors
    )


def _metering(
    config: OtelConfig,
    resource: Resource,
    exporters: tuple[str, ...],
    made: Providers,
) -> MeterProvider:
    interval = None if config.interval is None else config.interval * 1000
    readers: list[MetricReader] = []
    for name in exporters:
        if name == "otlp":
            exporter = OTLPMetricExporter(**_otlp(config, "METRICS"))
            readers.append(Periodically(made.tallies, exporter, interval))
        elif name == "console":
            readers.append(Periodically(made.tallies, ConsoleMetricExporter(), interval))
        else:
            made.registry = CollectorRegistry()
            readers.append(WhenAsked(made.tallies, made.registry))
    return MeterProvider(readers, resource, shutdown_on_exit=False)
