"""What may stand in ``[[sinks]]`` with ``use = "otel"``, and in ``[[routes]]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from enclave_broker_core.models import Count, Frozen, Seconds

TraceExport = Literal["otlp", "console", "none"]
MetricExport = Literal["otlp", "prometheus", "console", "none"]


class OtelConfig(Frozen):
    """What is left out is as the ``OTEL_*`` variables say.

    Without an exporter for either, given here or by them, there is no tracing at all.
    """

    traces: TraceExport | None = None
    """Where spans go."""
    metrics: tuple[MetricExport, ...] | None = None
    """Where metrics go."""
    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")] | None = None
    """The collector's base URL, for OTLP over HTTP."""
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    """What goes with each export."""
    service: str | None = None
    """The service's name."""
    resource: Mapping[str, str] = Field(default_factory=dict)
    """More attributes of the process."""
    sample: Annotated[float, Field(ge=0, le=1)] | None = None
    """The part of the traces that begin here and are kept, 0 to 1."""
    interval: Seconds | None = None
    """How often, in seconds, metrics are exported."""
    arguments: bool = False
    """Whether spans have arguments, without secrets."""
    results: bool = False
    """Whether spans have results, without secrets."""
    max_content_bytes: Count = 4096
    """Bytes of each of these."""
    max_values: Count = 500
    """Tools, and rules, that have time series of their own."""
    logs: bool = True
    """Whether log records say in which session, call and trace they were made, and for whom."""


class PrometheusConfig(Frozen):
    """The page for Prometheus."""

    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9/_-]+$")] = "/metrics"
    """The page's path."""
    roles: tuple[str, ...] = ("operator",)
    """Whoever has one of them may read it; with none, whoever is let in."""
