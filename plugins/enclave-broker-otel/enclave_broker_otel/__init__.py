"""OpenTelemetry for operators: traces, metrics, and log lines that say where they belong."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import OtelConfig, PrometheusConfig
from .opening import open_otel
from .prometheus import open_prometheus


@hookimpl
def enclave_event_sinks() -> Iterable[Component]:
    return [Component("otel", open_otel, OtelConfig)]


@hookimpl
def enclave_routes() -> Iterable[Component]:
    return [Component("prometheus", open_prometheus, PrometheusConfig)]
