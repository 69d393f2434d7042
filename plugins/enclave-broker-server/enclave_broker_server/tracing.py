"""Tells the broker's tracer, if it has one, of each request and of its answer."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Scope

from enclave_broker_core.traced import Traced

ROUTE = "enclave.route"
"""Where in the scope the route of a request is, once it is found."""

TRACER = "enclave.tracer"
"""Where in the scope the routes of plugins find the tracer."""

_TRACE = "enclave.trace"


class RequestTracing:
    """``tracer`` says which one there is now: a reload may bring another."""

    def __init__(self, tracer: Callable[[], Traced | None]) -> None:
        self._tracer = tracer

    def begin(self, scope: Scope) -> None:
        """A request was let in; what it does from here on, in this task, belongs to it."""
        traced = self._tracer()
        if traced is None:
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        method = scope.get("method", "GET")
        scope[TRACER] = traced.tracer
        trace = traced.request(method, scope["path"], headers)
        scope[_TRACE] = None if trace is None else (traced, trace)

    def end(self, scope: Scope, status: int) -> None:
        """It was answered, or its caller has gone."""
        begun = scope.get(_TRACE)
        if begun is not None:
            traced, trace = begun
            # Starlette itself says which route took a WebSocket.
            route = scope.get(ROUTE) or getattr(scope.get("route"), "path", None)
            traced.answered(trace, route, status)
