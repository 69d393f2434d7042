"""W3C context from a client through the server to a service, and the page for Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from collector import Collector
from enclave_broker_otel.names import METRICS
from enclave_broker_server.app import create_app
from enclave_broker_server.listening import listen, serving_at, url_of
from enclave_broker_server.settings import ServerSettings
from http_source import source
from prometheus_client.parser import text_string_to_metric_families
from raw_http import RawServer, answer, raw_server

from enclave_broker_core.build import open_setup
from enclave_broker_core.contracts import Credentials
from enclave_broker_core.models import Principal

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
OPERATOR = {"Authorization": "olga"}


class ByName:
    """Whoever says a name is that; olga is an operator."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        name = credentials.headers.get("authorization")
        roles = frozenset({"operator"} if name == "olga" else ())
        return None if name is None else Principal(id=name, roles=roles)


@asynccontextmanager
async def served(got: Collector, **more: Any) -> AsyncIterator[tuple[httpx.AsyncClient, RawServer]]:
    sink = {"use": "otel", "endpoint": got.url, "traces": "otlp", "metrics": ["prometheus"]}
    async with raw_server(lambda _: answer(200, [("Content-Type", "text/plain")], b"hi")) as server:
        config = {
            "access": {"default": "allow"},
            "tools": [source(server, {"name": "ask", "url": "/asked"})],
            "sinks": [{**sink, **more.pop("sink", {})}],
            "routes": [{"use": "prometheus", **more}],
        }
        sockets = listen("127.0.0.1", 0)
        async with open_setup(config, environment=False) as setup:
            app = create_app(
                setup.broker,
                authenticators=[ByName()],
                routes=[route for routes in setup.routes for route in routes],
            )
            async with (
                serving_at(sockets, app, ServerSettings()),
                httpx.AsyncClient(base_url=url_of(*sockets[0].getsockname()), timeout=20) as http,
            ):
                yield http, server


async def test_a_clients_trace_goes_on_to_the_service(got: Collector, anyio_backend: str) -> None:
    said = {"traceparent": TRACEPARENT, "tracestate": "a=b", "baggage": "user=olga"}
    async with served(got) as (http, service):
        made = await http.post("/sessions", json={"sessionId": "s_1"}, headers=OPERATOR)
        assert made.status_code == 201
        asked = {"id": "c_client", "name": "ask"}
        headers = {**OPERATOR, **said}
        called = await http.post("/sessions/s_1/tool-calls", json=asked, headers=headers)
        assert called.json()["data"] == "hi"
        assert (await http.get("/health", headers=said)).status_code == 200
        assert (await http.get("/nowhere", headers=OPERATOR)).status_code == 404
        (request,) = service.got
    (route,) = got.named("POST /sessions/{session_id}/tool-calls")
    assert (route.trace, route.parent, route.kind) == (TRACE, SPAN, "server")
    assert route.attributes == {
        "http.request.method": "POST",
        "url.path": "/sessions/s_1/tool-calls",
        "http.route": "/sessions/{session_id}/tool-calls",
        "http.response.status_code": 200,
    }
    (call,) = got.named("execute_tool ask")
    assert (call.trace, call.parent) == (TRACE, route.id)
    assert call.attributes["gen_ai.tool.call.id"] == "c_client"
    assert request.header("traceparent") == f"00-{TRACE}-{call.id}-01"
    assert request.header("tracestate") == "a=b"
    assert request.header("baggage") is None
    (session,) = got.named("session")
    (creation,) = got.named("POST /sessions")
    assert (session.trace, session.parent) == (creation.trace, creation.id)
    assert call.links == (session.id,)
    # What is open to everybody is not followed; what is not found has no route.
    names = sorted(span.name for span in got.spans if span.kind == "server")
    assert names == ["GET", "POST /sessions", "POST /sessions/{session_id}/tool-calls"]


async def test_a_caller_who_is_not_known_is_not_followed(
    got: Collector, anyio_backend: str
) -> None:
    async with served(got) as (http, _):
        refused = await http.get("/sessions", headers={"traceparent": TRACEPARENT})
        assert refused.status_code == 401
    assert got.spans == []


@pytest.mark.parametrize("said", ["", "00-0-0-0", "ff-" + "0" * 90, "x" * 5000])
async def test_a_context_that_is_none_begins_a_trace(
    said: str, got: Collector, anyio_backend: str
) -> None:
    async with served(got) as (http, _):
        listed = await http.get("/sessions", headers={**OPERATOR, "traceparent": said})
        assert listed.status_code == 200
    (span,) = got.named("GET /sessions")
    assert span.parent == ""


async def test_prometheus_reads_what_happened(got: Collector, anyio_backend: str) -> None:
    async with served(got) as (http, _):
        await http.post("/sessions", json={"sessionId": "s_1"}, headers=OPERATOR)
        for name in ("ask", "ask", "made:up"):
            path = "/sessions/s_1/tool-calls"
            await http.post(path, json={"name": name}, headers=OPERATOR)
        page = await http.get("/metrics", headers=OPERATOR)
        assert page.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(page.text)}
    calls = {
        (sample.labels["gen_ai_tool_name"], sample.labels["enclave_outcome"]): sample.value
        for sample in families["enclave_tool_calls"].samples
        if sample.name == "enclave_tool_calls_total"
    }
    assert calls == {("ask", "ok"): 2, ("_unknown", "refused"): 1}
    sessions = {
        sample.labels["enclave_session_state"]: sample.value
        for sample in families["enclave_sessions"].samples
    }
    assert sessions == {"starting": 0, "running": 1, "waiting_for_tool": 0}
    buckets = [
        sample
        for sample in families["gen_ai_execute_tool_duration_seconds"].samples
        if sample.name.endswith("_bucket") and sample.labels["gen_ai_tool_name"] == "ask"
    ]
    bounds = METRICS["gen_ai.execute_tool.duration"].buckets
    assert [float(sample.labels["le"]) for sample in buckets] == [*bounds, float("inf")]
    assert buckets[-1].value == 2
    assert families["enclave_tools"].samples[0].value == 1


@pytest.mark.parametrize(
    ("roles", "who", "status"),
    [
        (["operator"], "olga", 200),
        (["operator"], "ann", 403),
        (["operator"], None, 401),
        ([], "ann", 200),
        ([], None, 401),
    ],
)
async def test_the_metrics_are_for_operators(
    roles: list[str], who: str | None, status: int, got: Collector, anyio_backend: str
) -> None:
    async with served(got, roles=roles, path="/internal/metrics") as (http, _):
        headers = {} if who is None else {"Authorization": who}
        page = await http.get("/internal/metrics", headers=headers)
        assert page.status_code == status
        assert ("enclave_tools" in page.text) is (status == 200)


async def test_a_page_without_metrics_says_so(got: Collector, anyio_backend: str) -> None:
    async with served(got, sink={"metrics": ["none"]}) as (http, _):
        page = await http.get("/metrics", headers=OPERATOR)
    assert page.status_code == 404
    assert "there is no sink 'otel' with 'prometheus'" in page.json()["message"]
