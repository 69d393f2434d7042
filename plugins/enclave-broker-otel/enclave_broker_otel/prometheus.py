"""The metrics for Prometheus: a route of the server, for operators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from prometheus_client.exposition import choose_encoder

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import AccessDeniedError, PluginError
from enclave_broker_core.models import Principal

from .config import PrometheusConfig
from .tracer import OtelTracer

Scope = MutableMapping[str, Any]


@asynccontextmanager
async def open_prometheus(
    config: PrometheusConfig, context: OpenContext
) -> AsyncIterator[Sequence[Any]]:
    """The route. PluginError where there is no server to have it."""
    try:
        from starlette.routing import Route
    except ImportError:
        raise PluginError("it is a route of a server: install enclave-broker-server") from None
    yield [Route(config.path, MetricsPage(config.roles), methods=["GET"])]


class NoMetricsError(PluginError):
    """There is nothing to show."""

    status = 404


class MetricsPage:
    """Answers with what the broker's tracer has measured, to those who may see it."""

    def __init__(self, roles: Sequence[str]) -> None:
        self._roles = frozenset(roles)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        self._require_operator(scope)
        tracer = scope.get("enclave.tracer")
        if not isinstance(tracer, OtelTracer) or tracer.registry is None:
            raise NoMetricsError(
                "no metrics are kept here: there is no sink 'otel' with 'prometheus' in its metrics"
            )
        tracer.sample()
        encode, content_type = choose_encoder(_accept(scope))
        # It takes a while when there are many time series.
        page = await anyio.to_thread.run_sync(encode, tracer.registry)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(page)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else page
        await send({"type": "http.response.body", "body": body})

    def _require_operator(self, scope: Mapping[str, Any]) -> None:
        principal = getattr(scope.get("enclave.caller"), "principal", None)
        if type(principal) is not Principal or (self._roles and not self._roles & principal.roles):
            raise AccessDeniedError("the metrics are for operators")


def _accept(scope: Mapping[str, Any]) -> str:
    return next((value for key, value in scope["headers"] if key == b"accept"), b"").decode(
        "latin-1"
    )
