"""Makes the Grafana dashboard of the metrics' names: ``python -m enclave_broker_otel.dashboard``.

It is for Prometheus, whether that reads the server's page or gets the metrics by OTLP with
underscores and suffixes, as is usual.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import names
from .names import METRICS

SOURCE = "${datasource}"
WIDTH, HEIGHT, ACROSS = 8, 8, 24
QUANTILES = (0.5, 0.95, 0.99)
JOB = 'job=~"$job"'


class Query(NamedTuple):
    expression: str
    legend: str


class Panel(NamedTuple):
    title: str
    metric: str
    queries: tuple[Query, ...]
    unit: str


def prometheus_name(name: str) -> str:
    """A metric's name as Prometheus has it; a histogram's without ``_bucket`` and the like."""
    metric = METRICS[name]
    known = name.replace(".", "_")
    if metric.unit == "s":
        known += "_seconds"
    return f"{known}_total" if metric.kind in ("counter", "observable counter") else known


def label(attribute: str) -> str:
    return attribute.replace(".", "_")


def rate(name: str, *by: str) -> Query:
    """How many there are in each second."""
    counted = prometheus_name(name)
    if METRICS[name].kind == "histogram":
        counted += "_count"
    return _by(f"rate({counted}{{{JOB}}}[$__rate_interval])", by)


def level(name: str, *by: str) -> Query:
    """How many there are now, in all processes."""
    return _by(f"{prometheus_name(name)}{{{JOB}}}", by)


def quantiles(name: str, *by: str) -> tuple[Query, ...]:
    """What half of them took at most, and nearly all."""
    buckets = f"rate({prometheus_name(name)}_bucket{{{JOB}}}[$__rate_interval])"
    grouped = ", ".join(["le", *map(label, by)])
    legend = " ".join(f"{{{{{label(one)}}}}}" for one in by)
    return tuple(
        Query(
            f"histogram_quantile({quantile}, sum by ({grouped}) ({buckets}))",
            f"p{round(quantile * 100)} {legend}".rstrip(),
        )
        for quantile in QUANTILES
    )


def _by(expression: str, by: Sequence[str]) -> Query:
    labels = ", ".join(map(label, by))
    summed = f"sum by ({labels}) ({expression})" if by else f"sum({expression})"
    return Query(summed, " ".join(f"{{{{{label(one)}}}}}" for one in by) or "all")


def panels() -> list[Panel]:
    """At least one for each metric."""

    def counted(title: str, name: str, *by: str, unit: str = "ops") -> Panel:
        return Panel(title, name, (rate(name, *by),), unit)

    def shown(title: str, name: str, *by: str) -> Panel:
        return Panel(title, name, (level(name, *by),), "short")

    def timed(title: str, name: str, *by: str) -> Panel:
        return Panel(title, name, quantiles(name, *by), "s")

    return [
        counted("Calls by outcome", "enclave.tool.calls", names.OUTCOME),
        counted("Calls by tool", "enclave.tool.calls", names.TOOL),
        counted("Errors by code", "enclave.tool.calls", names.ERROR),
        timed("How long calls take", "gen_ai.execute_tool.duration"),
        counted("Denials by rule", "enclave.access.denials", names.RULE),
        counted("Refusals of rate limits", "enclave.limiter.refusals", names.SCOPE),
        shown("Sessions", "enclave.sessions", names.STATE),
        counted("Sessions that began", "enclave.sessions.started"),
        timed("How long sessions last", "enclave.session.duration"),
        timed("How long runs take", "enclave.run.duration"),
        counted("Runs by outcome", "enclave.run.duration", names.OUTCOME),
        shown("Workers of sandboxes", "enclave.sandbox.workers", names.RUNTIME, names.WORKER),
        shown("Runs that wait for a worker", "enclave.sandbox.waiting", names.RUNTIME),
        timed("The store", "enclave.store.operation.duration", names.OPERATION),
        timed("Lag of the event loop", "enclave.event_loop.lag"),
        shown("Queues", "enclave.queue.length", names.QUEUE),
        counted("Observations dropped", "enclave.observations.dropped"),
        shown("Abandoned threads", "enclave.abandoned.threads"),
        counted("Abandoned handlers", "enclave.abandoned.handlers"),
        shown("Tools", "enclave.tools"),
        counted("Requests by status", "http.server.request.duration", names.STATUS, unit="reqps"),
        timed("How long requests take", "http.server.request.duration", names.ROUTE),
    ]


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana imports it."""
    return {
        "title": "Enclave Broker",
        "uid": "enclave-broker",
        "tags": ["enclave-broker"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "job",
                    "type": "query",
                    "datasource": {"type": "prometheus", "uid": SOURCE},
                    "query": f"label_values({prometheus_name('enclave.tools')}, job)",
                    "includeAll": True,
                    "multi": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                    "refresh": 2,
                },
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels())],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    place = number * WIDTH
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": METRICS[panel.metric].description,
        "datasource": {"type": "prometheus", "uid": SOURCE},
        "gridPos": {
            "x": place % ACROSS,
            "y": place // ACROSS * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query.expression, "legendFormat": query.legend}
            for place, query in enumerate(panel.queries)
        ],
    }


def text() -> str:
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
