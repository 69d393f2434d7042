"""The catalog, health, the API's description, and what is answered for all else."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema_rs
import pytest
from enclave_broker_server.app import create_app
from enclave_broker_server.draining import Draining
from enclave_broker_server.settings import ServerSettings
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from enclave_broker_core import AccessController, Broker, Credentials, Principal, Rule
from enclave_broker_core.errors import PluginError

pytestmark = pytest.mark.anyio


def with_tools() -> Broker:
    access = AccessController(default="allow", rules=[Rule(pattern="admin:*", allow=False)])
    broker = Broker(access=access)

    @broker.tool("users:get", tags={"users"})
    async def get(id: int) -> dict[str, Any]:
        """Look a user up."""
        return {}

    @broker.tool("admin:stop", deprecated=True)
    async def stop() -> None: ...

    return broker


async def test_the_catalog_has_what_the_caller_may_use(opened: Any) -> None:
    async with opened(with_tools()) as http:
        listed = (await http.get("/tools")).json()
        assert listed["total"] == 1
        (tool,) = listed["tools"]
        assert tool["name"] == "users:get"
        assert tool["description"] == "Look a user up."
        assert tool["tags"] == ["users"]
        assert tool["deprecated"] is False
        assert tool["inputSchema"]["required"] == ["id"]
        assert (await http.get("/tools/users:get")).json() == tool
        for name in ("admin:stop", "none"):
            answer = await http.get(f"/tools/{name}")
            assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
        actions = (await http.get("/code/actions")).json()
        assert [(one["name"], one["service"]) for one in actions["actions"]] == [
            ("users:get", "users")
        ]
        assert actions["services"] == [{"name": "users", "actionCount": 1}]
        assert isinstance(actions["version"], str)


async def test_health_and_readiness_are_open_to_all(opened: Any) -> None:
    class Nobody:
        async def authenticate(self, credentials: Credentials) -> Principal | None:
            return None

    draining = Draining(7.0)
    async with opened(with_tools(), authenticators=[Nobody()], draining=draining) as http:
        assert (await http.get("/tools")).status_code == 401
        assert (await http.get("/health")).json() == {"status": "ok"}
        assert (await http.get("/ready")).json() == {"status": "ready"}
        draining.begin()
        assert (await http.get("/health")).status_code == 200
        answer = await http.get("/ready")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
        assert answer.json()["code"] == "SERVICE_UNAVAILABLE"


async def test_a_store_that_cant_be_reached_makes_it_not_ready(opened: Any) -> None:
    from enclave_broker_memory.store import MemoryStore

    class Away(MemoryStore):
        async def check(self) -> None:
            raise PluginError("no route to redis://secret@host")

    async with opened(Broker(store=Away())) as http:
        answer = await http.get("/ready")
        assert answer.status_code == 503
        assert "secret" not in answer.text


async def test_a_stopping_server_takes_no_session_and_lets_others_go_on(opened: Any) -> None:
    draining = Draining(3.0)
    async with opened(with_tools(), draining=draining) as http:
        await http.post("/sessions", json={"sessionId": "s_1"})
        draining.begin()
        answer = await http.post("/sessions", json={"sessionId": "s_2"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
        call = {"name": "users:get", "args": {"id": 1}}
        assert (await http.post("/sessions/s_1/tool-calls", json=call)).json()["ok"] is True


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("[::1]:80", 200),
        ("broker.example:8080", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
async def test_only_hosts_that_are_its_own_are_served(opened: Any, host: str, status: int) -> None:
    settings = ServerSettings(hosts=("Broker.example",))
    async with opened(with_tools(), settings=settings) as http:
        answer = await http.get("/tools", headers={"Host": host})
        assert answer.status_code == status


async def test_pages_of_foreign_origins_are_refused(opened: Any) -> None:
    settings = ServerSettings(origins=("https://app.example",))
    async with opened(with_tools(), settings=settings) as http:
        for origin in ("https://evil.example", "null", "https://app.example.evil", "file://"):
            for method in ("GET", "OPTIONS"):
                answer = await http.request(method, "/tools", headers={"Origin": origin})
                assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
                assert "access-control-allow-origin" not in answer.headers
        own = str(http.base_url).rstrip("/")
        for origin in ("https://app.example", own):
            answer = await http.get("/tools", headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
            asked = await http.options("/sessions", headers={"Origin": origin})
            assert asked.status_code == 204
            assert asked.headers["access-control-allow-methods"] == "GET, POST, DELETE, OPTIONS"
            assert asked.headers["access-control-allow-headers"] == (
                "Content-Type, Accept, Authorization, Last-Event-ID, Idempotency-Key"
            )


async def test_every_answer_has_its_safe_headers_and_an_id(opened: Any) -> None:
    async with opened(with_tools()) as http:
        for path in ("/tools", "/nowhere", "/health"):
            answer = await http.get(path, headers={"X-Request-ID": "mine-1"})
            assert answer.headers["x-request-id"] == "mine-1"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        answer = await http.get("/tools", headers={"X-Request-ID": "no good"})
        assert len(answer.headers["x-request-id"]) == 16


async def test_what_there_is_not_is_said_in_json(opened: Any) -> None:
    async with opened(with_tools()) as http:
        answer = await http.get("/nowhere")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
        answer = await http.put("/sessions")
        assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


async def test_it_can_be_mounted_in_another_application(serving_app: Any) -> None:
    async def hello(request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    broker = with_tools()
    app = Starlette(routes=[Route("/", hello), Mount("/broker", app=create_app(broker))])
    async with broker, serving_app(app) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/")).text == "hello"
        assert (await http.get("/broker/tools")).json()["total"] == 1
        assert (await http.get("/broker/nowhere")).json()["code"] == "NOT_FOUND"
        await http.post("/broker/sessions", json={"sessionId": "s_m"})
        await http.post("/broker/sessions/s_m/cancel")
        line = (await http.get("/broker/sessions/s_m/stream")).text.splitlines()[0]
        assert '"cancelUrl":"/broker/sessions/s_m/cancel"' in line
        described = (await http.get("/broker/openapi.json")).json()
        assert described["servers"] == [{"url": "/broker"}]


async def test_an_unexpected_failure_says_nothing_of_itself(
    opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(request: Any) -> Any:
        raise RuntimeError("the password is hunter2")

    async with opened(with_tools(), routes=[Route("/broken", broken)]) as http:
        answer = await http.get("/broken", headers={"X-Request-ID": "r-1"})
        assert answer.status_code == 500
        assert answer.json() == {"code": "INTERNAL_ERROR", "message": "something failed here"}
        assert (await http.get("/tools")).status_code == 200
    assert "request r-1 failed" in caplog.text


async def test_the_access_log_has_a_line_for_each_request_without_what_was_sent(
    opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Names:
        async def authenticate(self, credentials: Credentials) -> Principal | None:
            return Principal(id="ada\nfake line")

    caplog.set_level("INFO", logger="enclave_broker.access")
    async with opened(with_tools(), authenticators=[Names()]) as http:
        await http.post("/sessions", json={"sessionId": "s_1"})
        call = {"name": "users:get", "args": {"id": 4711}}
        await http.post("/sessions/s_1/tool-calls?secret=1", json=call)
    lines = [record for record in caplog.records if record.name == "enclave_broker.access"]
    assert [(line.method, line.status, line.session) for line in lines] == [  # type: ignore[attr-defined]
        ("POST", 201, "s_1"),
        ("POST", 200, "s_1"),
    ]
    text = lines[1].getMessage()
    assert "/sessions/s_1/tool-calls" in text
    assert "4711" not in text
    assert "secret" not in text
    assert "\n" not in text


async def test_the_description_describes_every_route(opened: Any) -> None:
    async with opened(with_tools()) as http:
        described = (await http.get("/openapi.json")).json()
    assert described["openapi"] == "3.1.0"
    paths = {
        path: {method for method in item if method != "parameters"}
        for path, item in described["paths"].items()
    }
    assert paths == {
        "/sessions": {"get", "post"},
        "/sessions/{session_id}": {"get", "delete"},
        "/sessions/{session_id}/stream": {"get"},
        "/sessions/{session_id}/execute": {"post"},
        "/sessions/{session_id}/cancel": {"post"},
        "/sessions/{session_id}/ticket": {"post"},
        "/sessions/{session_id}/tool-calls": {"get", "post"},
        "/sessions/{session_id}/tool-result": {"post"},
        "/sessions/{session_id}/ws": {"get"},
        "/tools": {"get"},
        "/tools/{name}": {"get"},
        "/code/actions": {"get"},
        "/health": {"get"},
        "/ready": {"get"},
        "/openapi.json": {"get"},
    }
    for schema in described["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, "components": described["components"]})
