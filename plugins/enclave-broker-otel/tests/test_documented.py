"""Names: what is measured, what the page says, and what the dashboard asks for are the same."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from collector import Collector
from enclave_broker_otel import dashboard, names, opening
from enclave_broker_otel.names import METRICS, SPANS
from enclave_broker_otel.tracer import OtelTracer
from prometheus_client.parser import text_string_to_metric_families

from enclave_broker_core import AccessController, Broker, BrokerError, Principal, RateLimiter, use

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "observability.md").read_text()
MADE = ROOT / "docs" / "grafana" / "enclave-broker.json"
SUFFIXES = re.compile(r"_(?:bucket|count|sum)$")


async def page_of_a_broker(got: Collector, measured: anyio.Event) -> tuple[str, Collector]:
    """What Prometheus sees, and a collector, of a broker to which everything has happened."""
    options = {"endpoint": got.url, "traces": "otlp", "metrics": ["otlp", "prometheus"]}
    options |= {"arguments": True, "results": True}
    broker = Broker(
        access=AccessController([{"pattern": "no", "allow": False}], default="allow"),
        limiter=RateLimiter(per_tool={"once": {"max_calls": 1, "window": 60}}),
        runtime="monty",
        sinks=[use("otel", **options)],
    )
    broker.tool("once")(lambda: None)
    broker.tool("no")(lambda: None)
    async with broker:
        tracer: Any = broker.tracer and broker.tracer.tracer
        request = tracer.request("GET", "/sessions", {})
        async with broker.session(principal=Principal(id="ann", tenant="acme")) as session:
            await session.run("1")
            await session.run("1 / 0")
            for name in ("once", "once", "no"):
                with contextlib.suppress(BrokerError):
                    await session.call(name)
        async with broker.session() as session:
            await session.end(BrokerError("it failed"))
        request.end("/sessions", 500)
        with anyio.fail_after(10):
            await measured.wait()
        page = tracer.page()
    return page, got


@pytest.fixture
async def seen(got: Collector, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Collector]:
    measured, lagged = anyio.Event(), OtelTracer.lagged

    def noted(tracer: OtelTracer, seconds: float) -> None:
        lagged(tracer, seconds)
        measured.set()

    monkeypatch.setattr(opening, "PERIOD", 0.005)
    monkeypatch.setattr(OtelTracer, "lagged", noted)
    return await page_of_a_broker(got, measured)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_names_are_those_that_are_exported(
    seen: tuple[str, Collector], anyio_backend: str
) -> None:
    page, got = seen
    assert set(got.points) == set(METRICS)
    for name, points in got.points.items():
        attributes = {key for point, _ in points for key in point}
        assert attributes == set(METRICS[name].attributes), name
    spans: dict[str, set[str]] = {}
    patterns = {
        "execute_tool {gen_ai.tool.name}": "execute_tool",
        "{http.request.method} {http.route}": "GET",
    }
    for named in SPANS:
        first = patterns.get(named, named)
        found = [span for span in got.spans if span.name.split(" ")[0] == first]
        assert {span.kind for span in found} == {SPANS[named].kind}
        spans[named] = {key for span in found for key in span.attributes}
    assert spans == {named: set(span.attributes) for named, span in SPANS.items()}
    samples = {
        SUFFIXES.sub("", sample.name)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert {dashboard.prometheus_name(name) for name in METRICS} <= samples


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_dashboard_asks_for_what_there_is(
    seen: tuple[str, Collector], anyio_backend: str
) -> None:
    page, _ = seen
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    made = json.loads(MADE.read_text())
    asked: set[str] = set()
    for panel in made["panels"]:
        for target in panel["targets"]:
            (metric,) = re.findall(r"(\w+)\{job=~\"\$job\"\}", target["expr"])
            grouped = re.findall(r"sum by \(([^)]*)\)", target["expr"])
            wanted = {one.strip() for one in ",".join(grouped).split(",") if one.strip()}
            assert metric in labels, panel["title"]
            assert wanted <= labels[metric], panel["title"]
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= wanted
            asked.add(SUFFIXES.sub("", metric))
    assert asked == {dashboard.prometheus_name(name) for name in METRICS}


def test_the_dashboard_is_as_it_is_made_now() -> None:
    assert MADE.read_text() == dashboard.text(), "python -m enclave_broker_otel.dashboard"


def rows(heading: str) -> dict[str, str]:
    """The rows of the table under a heading, by what stands first in them."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^\| `([^`]+)` \|(.*)\|$", section, re.MULTILINE)
    return dict(found)


def test_every_metric_is_documented() -> None:
    told = rows("Metrics")
    assert set(told) == set(METRICS)
    for name, metric in METRICS.items():
        assert set(re.findall(r"`([^`]+)`", told[name])) == set(metric.attributes), name
        assert metric.description in told[name]
        assert f" {metric.kind}" in told[name]
        assert f" {metric.unit.strip('{}')} " in told[name]


def test_every_span_is_documented() -> None:
    told = rows("Spans")
    assert set(told) == set(SPANS)
    for name, span in SPANS.items():
        assert set(re.findall(r"`([^`]+)`", told[name])) == set(span.attributes), name


def test_every_attribute_is_documented() -> None:
    used = {one for metric in METRICS.values() for one in metric.attributes}
    used |= {one for span in SPANS.values() for one in span.attributes}
    assert set(rows("Attributes")) == used
    declared = {item for key, item in vars(names).items() if key.isupper() and type(item) is str}
    assert declared == used
