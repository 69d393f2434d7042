"""A collector: takes OTLP over HTTP, as protobuf, on a port of loopback, and keeps what it got."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage


@dataclass(frozen=True)
class GotSpan:
    """A span as it came; ``parent`` and ``links`` are ids of spans."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    status: str
    attributes: Mapping[str, Any]
    began: int
    ended: int


@dataclass
class Collector:
    """``spans`` in the order in which they ended, ``points`` by metric: (attributes, value)."""

    url: str
    spans: list[GotSpan] = field(default_factory=list)
    points: dict[str, list[tuple[dict[str, Any], Any]]] = field(default_factory=dict)
    resources: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def named(self, name: str) -> list[GotSpan]:
        return [span for span in self.spans if span.name == name]

    def tree(self) -> list[Any]:
        """The spans without a parent here, each ``[name, children...]``, by their beginnings."""
        ids = {span.id for span in self.spans}
        spans = sorted(self.spans, key=lambda span: span.began)

        def below(parent: GotSpan) -> list[Any]:
            return [parent.name, *(below(one) for one in spans if one.parent == parent.id)]

        return [below(span) for span in spans if span.parent not in ids]

    def value(self, metric: str, **attributes: Any) -> Any:
        """The one point with these attributes, of which "__" stands for a point."""
        wanted = {key.replace("__", "."): item for key, item in attributes.items()}
        (found,) = [value for given, value in self.points[metric] if given == wanted]
        return found

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            traces = ExportTraceServiceRequest.FromString(body)
            for resource in traces.resource_spans:
                self.resources.append(plain(resource.resource.attributes))
                self.spans += [
                    span_of(span) for scope in resource.scope_spans for span in scope.spans
                ]
        elif path == "/v1/metrics":
            metrics = ExportMetricsServiceRequest.FromString(body)
            for one in metrics.resource_metrics:
                self.resources.append(plain(one.resource.attributes))
                for scope in one.scope_metrics:
                    for metric in scope.metrics:
                        self.points[metric.name] = points_of(metric)


def plain(attributes: Any) -> dict[str, Any]:
    return {item.key: value_of(item) for item in attributes}


def value_of(item: KeyValue) -> Any:
    value: AnyValue = item.value
    return getattr(value, str(value.WhichOneof("value")))


def span_of(span: SpanMessage) -> GotSpan:
    return GotSpan(
        span.name,
        SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple(link.span_id.hex() for link in span.links),
        {0: "unset", 1: "ok", 2: "error"}[span.status.code],
        plain(span.attributes),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


def points_of(metric: Any) -> list[tuple[dict[str, Any], Any]]:
    """A histogram's value is how many there were, and their sum."""
    kind = metric.WhichOneof("data")
    points = getattr(metric, kind).data_points
    if kind == "histogram":
        return [(plain(one.attributes), (one.count, one.sum)) for one in points]
    return [(plain(one.attributes), one.as_int or one.as_double) for one in points]


@contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            got.headers.append({key.lower(): value for key, value in self.headers.items()})
            got.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    got = Collector(f"http://127.0.0.1:{server.server_port}")
    serving = threading.Thread(target=server.serve_forever, args=(0.02,))
    serving.start()
    try:
        yield got
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
