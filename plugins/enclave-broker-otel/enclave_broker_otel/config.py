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
    ``endpoint`` is the collector's base URL, for OTLP over HTTP; ``headers`` go with each
    export. ``sample`` is the part of the traces that begin here and are kept. ``arguments`` and
    ``results`` put these into spans, without secrets and up to ``max_content_bytes`` each.
    ``max_values`` is how many tools, and how many rules, have a time series of their own.
    ``interval`` is how often, in seconds, metrics are exported. With ``logs``, log records say
    in which session, call and trace they were made, and for whom.
    """

    traces: TraceExport | None = None
    metrics: tuple[MetricExport, ...] | None = None
    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")] | None = None
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    service: str | None = None
    resource: Mapping[str, str] = Field(default_factory=dict)
    sample: Annotated[float, Field(ge=0, le=1)] | None = None
    interval: Seconds | None = None
    arguments: bool = False
    results: bool = False
    max_content_bytes: Count = 4096
    max_values: Count = 500
    logs: bool = True


class PrometheusConfig(Frozen):
    """``roles``: whoever has one of them may read the metrics; with none, whoever is let in."""

    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9/_-]+$")] = "/metrics"
    roles: tuple[str, ...] = ("operator",)
