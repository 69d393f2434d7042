"""Counters and histograms that cost little, and are given to OpenTelemetry when it exports.

The SDK's own take longer for one measurement than the broker for half a call.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    Sum,
)

from . import names

Values = tuple[Any, ...]
"""Those of a metric's attributes, in the order of its description; None is left out."""


class Counts:
    """A counter. It is written by one thread and may be read by others."""

    def __init__(self, name: str, metric: names.Metric) -> None:
        self.name = name
        self.metric = metric
        self._counts: dict[Values, int] = {}
        self._began = time.time_ns()

    def add(self, *values: Any) -> None:
        counts = self._counts
        counts[values] = counts.get(values, 0) + 1

    def exported(self, at: int) -> Metric | None:
        points = [
            NumberDataPoint(_attributes(self.metric, values), self._began, at, count)
            for values, count in _snapshot(self._counts)
        ]
        return _exported(
            self, points and Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        )


class Times:
    """A histogram, in seconds. It is written by one thread and may be read by others."""

    def __init__(self, name: str, metric: names.Metric) -> None:
        self.name = name
        self.metric = metric
        self._bounds = metric.buckets
        self._series: dict[Values, list[float]] = {}
        self._began = time.time_ns()

    def record(self, seconds: float, *values: Any) -> None:
        series = self._series.get(values)
        if series is None:
            # The counts of the buckets, and then the sum, the least and the most.
            series = [0.0] * (len(self._bounds) + 1) + [0.0, seconds, seconds]
            self._series[values] = series
        series[bisect_left(self._bounds, seconds)] += 1
        series[-3] += seconds
        if seconds < series[-2]:
            series[-2] = seconds
        elif seconds > series[-1]:
            series[-1] = seconds

    def exported(self, at: int) -> Metric | None:
        points = [
            self._point(values, at, tuple(series)) for values, series in _snapshot(self._series)
        ]
        return _exported(self, points and Histogram(points, AggregationTemporality.CUMULATIVE))

    def _point(self, values: Values, at: int, series: Sequence[float]) -> HistogramDataPoint:
        counts = [round(count) for count in series[:-3]]
        total, least, most = series[-3:]
        return HistogramDataPoint(
            _attributes(self.metric, values),
            self._began,
            at,
            sum(counts),
            total,
            counts,
            self._bounds,
            least,
            most,
        )


class Tallies:
    """All of them, by their names."""

    def __init__(self) -> None:
        kinds = names.METRICS.items()
        self.counts = {name: Counts(name, one) for name, one in kinds if one.kind == "counter"}
        self.times = {name: Times(name, one) for name, one in kinds if one.kind == "histogram"}

    def exported(self) -> list[Metric]:
        """Those that have counted or timed something."""
        at = time.time_ns()
        both: Iterable[Counts | Times] = (*self.counts.values(), *self.times.values())
        found = (tally.exported(at) for tally in both)
        return [metric for metric in found if metric is not None]

    def beside(self, data: MetricsData) -> MetricsData:
        """What an exporter gets: what the SDK has read of the gauges, and these."""
        (resource,) = data.resource_metrics
        first, *others = resource.scope_metrics
        first = replace(first, metrics=[*first.metrics, *self.exported()])
        return MetricsData([replace(resource, scope_metrics=[first, *others])])


def _snapshot(written: Mapping[Values, Any]) -> list[tuple[Values, Any]]:
    return list(written.items())


def _attributes(metric: names.Metric, values: Values) -> dict[str, Any]:
    pairs = zip(metric.attributes, values, strict=True)
    return {key: value for key, value in pairs if value is not None}


def _exported(tally: Counts | Times, data: Any) -> Metric | None:
    metric = tally.metric
    return Metric(tally.name, metric.description, metric.unit, data) if data else None
