"""A source's document that changes, breaks, goes and comes back, and what becomes of its tools."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from enclave_broker_openapi.freshness import JITTER, Pace
from openapi_documents import paths
from pydantic_core import to_json

from enclave_broker_core import open_broker
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import ConfigError, PluginError
from enclave_broker_core.testing.providers import Published

pytestmark = pytest.mark.anyio

PATIENCE = 20.0
QUICK = 0.02
LOCAL = {"schemes": ["http"], "allow_private": ["loopback"]}


class Service:
    """Its document at ``/openapi.json``, another beside it, and operations that echo or wait."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.status = 200
        self.validator = "etag"
        self.asked: list[dict[str, str]] = []
        self.given: list[int] = []
        self.waiting = 0
        self.go_on = False
        self.offer("one")

    def offer(self, *names: str, **more: Any) -> None:
        """Have operations of these names."""
        document = paths(**{name: {} for name in names}) | more
        document["servers"] = [{"url": "/api"}]
        self.documents["/openapi.json"] = to_json(document)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path: str = scope["path"]
        if path not in self.documents:
            await self._operation(path, send)
            return
        self.asked.append({"path": path, **headers})
        content = self.documents[path]
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        status, extra = self.status, list[tuple[bytes, bytes]]()
        if self.validator == "etag":
            extra = [(b"etag", tag.encode())]
            known = headers.get("if-none-match") == tag
        else:
            extra = [(b"last-modified", tag.encode())] if self.validator == "date" else []
            known = bool(extra) and headers.get("if-modified-since") == tag
        if status == 200 and known:
            status, content = 304, b""
        self.given.append(status)
        await send({"type": "http.response.start", "status": status, "headers": extra})
        await send({"type": "http.response.body", "body": content if status == 200 else b""})

    async def _operation(self, path: str, send: Any) -> None:
        self.waiting += 1
        while path.endswith("wait") and not self.go_on:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        self.waiting -= 1
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": to_json(path)})


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def url(serve: Callable[[Any], str], service: Service) -> str:
    return serve(service)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.005)


async def names(provider: Any) -> list[str]:
    return [tool.spec.name for tool in await provider.tools()]


class Watched:
    """A provider whose ``watch`` runs for the length of a block."""

    def __init__(self, provider: Any, publish: Any) -> None:
        self._provider, self._publish = provider, publish

    async def __aenter__(self) -> None:
        self._tasks = anyio.create_task_group()
        tasks = await self._tasks.__aenter__()
        tasks.start_soon(self._provider.watch, self._publish)

    async def __aexit__(self, *error: Any) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)


async def next_set(published: Published, before: int) -> list[str]:
    with anyio.fail_after(PATIENCE):
        return [tool.spec.name for tool in await published.changed(before)]


@pytest.mark.parametrize("validator", ["etag", "date", "none"])
async def test_only_a_change_is_published(
    open_tools: Any, service: Service, url: str, validator: str
) -> None:
    service.validator = validator
    published = Published()
    async with open_tools(spec=f"{url}/openapi.json", refresh=QUICK) as provider:
        assert await names(provider) == ["api:one"]
        async with Watched(provider, published):
            await until(lambda: len(service.given) > 4)
            assert published.sets == []
            assert set(service.given[1:]) == ({200} if validator == "none" else {304})
            service.offer("one", "two")
            assert await next_set(published, 0) == ["api:one", "api:two"]
            assert await names(provider) == ["api:one", "api:two"]
            before = len(service.given)
            await until(lambda: len(service.given) > before + 3)
        assert len(published.sets) == 1
        assert provider.health.state == "healthy"


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"<html>",
        b'{"openapi": "9"}',
        b'{"openapi": "3.1.0", "paths": {"/a": {"get": {}}, "/b": {"get": {}}, "/c": {"get": {}}}}',
    ],
)
async def test_a_broken_document_leaves_the_tools_as_they_are(
    open_tools: Any, service: Service, url: str, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    published = Published()
    config = {"spec": f"{url}/openapi.json", "refresh": QUICK, "max_operations": 2}
    async with open_tools(**config) as provider, Watched(provider, published):
        service.documents["/openapi.json"] = broken
        await until(lambda: provider.health.failures > 1)
        assert provider.health.state == "stale"
        assert provider.health.reason
        assert await names(provider) == ["api:one"]
        assert published.sets == []
        said = [line for line in caplog.messages if "the tools stay as they were" in line]
        assert len(said) == 1
        service.offer("two")
        assert await next_set(published, 0) == ["api:two"]
        assert provider.health.state == "healthy"


@pytest.mark.parametrize("status", [404, 500, 401])
async def test_a_server_that_fails_leaves_the_tools_as_they_are(
    open_tools: Any, service: Service, url: str, status: int
) -> None:
    async with (
        open_tools(spec=f"{url}/openapi.json", refresh=QUICK) as provider,
        Watched(provider, Published()),
    ):
        service.status = status
        await until(lambda: provider.health.failures > 0)
        assert (provider.health.state, await names(provider)) == ("stale", ["api:one"])
        assert str(status) in provider.health.reason
        service.status = 200
        await until(lambda: provider.health.state == "healthy")


async def test_a_required_document_has_to_be_there(
    open_tools: Any, service: Service, url: str
) -> None:
    service.status = 503
    with pytest.raises(PluginError, match=r"the document of api can't be used: .* 503"):
        async with open_tools(spec=f"{url}/openapi.json"):
            pass
    with pytest.raises(PluginError, match=r"can't be used: 127\.0\.0\.1 can't be reached"):
        async with open_tools(spec="http://127.0.0.1:1/openapi.json"):
            pass


async def test_one_that_is_not_required_may_come_later(
    open_tools: Any, service: Service, url: str
) -> None:
    service.status = 404
    published = Published()
    config = {"spec": f"{url}/openapi.json", "required": False, "refresh": QUICK}
    async with open_tools(**config) as provider:
        assert await names(provider) == []
        assert (provider.health.state, provider.health.failures) == ("unhealthy", 1)
        async with Watched(provider, published):
            service.status = 200
            assert await next_set(published, 0) == ["api:one"]
        assert provider.health.state == "healthy"


async def test_a_change_in_what_the_document_refers_to(
    open_tools: Any, service: Service, url: str
) -> None:
    service.documents["/parts.json"] = to_json({"P": {"name": "p", "in": "query"}})
    operation = {"parameters": [{"$ref": "parts.json#/P"}]}
    document = paths(one=operation) | {"servers": [{"url": "/api"}]}
    service.documents["/openapi.json"] = to_json(document)
    published = Published()
    async with open_tools(spec=f"{url}/openapi.json", refresh=QUICK) as provider:
        [tool] = await provider.tools()
        assert list(tool.spec.input_schema["properties"]) == ["p"]
        async with Watched(provider, published):
            service.documents["/parts.json"] = to_json({"P": {"name": "q", "in": "query"}})
            await next_set(published, 0)
        [tool] = await provider.tools()
        assert list(tool.spec.input_schema["properties"]) == ["q"]


async def test_tools_that_nobody_takes_are_not_taken(
    open_tools: Any, service: Service, url: str
) -> None:
    async def refuse(tools: Any) -> None:
        raise ConfigError("another source has a tool of that name")

    async with open_tools(spec=f"{url}/openapi.json", refresh=QUICK) as provider:
        async with Watched(provider, refuse):
            service.offer("two")
            await until(lambda: provider.health.failures > 0)
        assert (provider.health.state, await names(provider)) == ("stale", ["api:one"])


def source(url: str, **more: Any) -> dict[str, Any]:
    table = {"use": "openapi", "name": "api", "spec": f"{url}/openapi.json", "network": LOCAL}
    return {"tools": [{**table, "refresh": QUICK, **more}]}


async def test_a_change_is_one_step_and_a_call_under_way_ends(service: Service, url: str) -> None:
    service.offer("wait", "gone")
    results: list[Any] = []
    async with (
        open_broker(source(url)) as broker,
        broker.session() as session,
        anyio.create_task_group() as tasks,
    ):

        async def call() -> None:
            results.append(await session.call("api:wait"))

        tasks.start_soon(call)
        await until(lambda: service.waiting == 1)
        service.offer("new", "newer")
        with anyio.fail_after(PATIENCE):
            async for event in session.events():
                if event.type == "catalog_changed":
                    assert event.payload["addedActions"] == ["api:new", "api:newer"]
                    assert event.payload["removedActions"] == ["api:gone", "api:wait"]
                    break
        visible = await session.visible_tools()
        assert {spec.name for spec in visible.values()} == {"api:new", "api:newer"}
        assert results == []
        service.go_on = True
        await until(lambda: bool(results))
        assert results == ["/api/wait"]
        assert await session.call("api:new") == "/api/new"


async def test_the_document_is_fetched_with_the_credentials_as_they_are(
    service: Service, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "first-token")
    auth = {"type": "bearer", "token": "{secret:API_TOKEN}"}
    async with open_broker(source(url, auth=auth)):
        assert service.asked[0]["authorization"] == "Bearer first-token"
        monkeypatch.setenv("API_TOKEN", "second-token")
        await until(lambda: service.asked[-1]["authorization"] == "Bearer second-token")


async def test_credentials_stay_with_the_documents_own_server(
    open_tools: Any, serve: Callable[[Any], str], service: Service, url: str
) -> None:
    other = Service()
    elsewhere = serve(other)
    other.documents["/parts.json"] = to_json({"P": {"name": "p", "in": "query"}})
    service.documents["/own.json"] = to_json({"Q": {"name": "q", "in": "query"}})
    parameters = [{"$ref": f"{elsewhere}/parts.json#/P"}, {"$ref": "own.json#/Q"}]
    document = paths(one={"parameters": parameters}) | {"servers": [{"url": "/api"}]}
    service.documents["/openapi.json"] = to_json(document)
    config = {
        "spec": f"{url}/openapi.json",
        "auth": {"type": "bearer", "token": "the-token"},
        "headers": {"X-Team": "red"},
        "network": {**LOCAL, "hosts": ["127.0.0.1"], "ports": [int(elsewhere.rpartition(":")[2])]},
    }
    async with open_tools(**config) as provider:
        [tool] = await provider.tools()
    assert list(tool.spec.input_schema["properties"]) == ["p", "q"]
    assert {(ask["authorization"], ask["x-team"]) for ask in service.asked} == {
        ("Bearer the-token", "red")
    }
    assert len(service.asked) == 2
    [asked] = other.asked
    assert not {"authorization", "x-team"} & asked.keys()


async def test_what_a_document_names_is_not_reached_unless_it_may_be(
    open_tools: Any, service: Service, url: str
) -> None:
    operations: dict[str, Any] = {
        "own": {},
        "other": {"servers": [{"url": "http://10.0.0.1:8080/"}]},
        "ref": {"parameters": [{"$ref": "http://169.254.169.254/latest#/x"}]},
        "file": {"parameters": [{"$ref": "file:///etc/passwd#/x"}]},
    }
    document = paths(**operations) | {"servers": [{"url": "/api"}]}
    service.documents["/openapi.json"] = to_json(document)
    async with open_tools(spec=f"{url}/openapi.json") as provider:
        assert await names(provider) == ["api:own"]
        reasons = {broken.key: broken.reason for broken in provider.outcome.broken}
        assert "the host is not among the allowed ones" in reasons["GET /other"]
        assert "the host is not among the allowed ones" in reasons["GET /ref"]
        assert "is not read from here" in reasons["GET /file"]


async def test_a_file_and_what_is_beside_it(
    open_tools: Any, tmp_path: Path, service: Service, url: str
) -> None:
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "parts.yaml").write_text("P: {name: p, in: query, schema: {type: string}}\n")
    (tmp_path / "outside.yaml").write_text("P: {name: p, in: query}\n")
    (folder / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    spec = f"""
openapi: 3.1.0
servers: [{{url: {url}/api}}]
paths:
  /one: {{get: {{operationId: one, parameters: [{{$ref: 'parts.yaml#/P'}}]}}}}
  /two: {{get: {{parameters: [{{$ref: '../outside.yaml#/P'}}]}}}}
  /three: {{get: {{parameters: [{{$ref: 'link.yaml#/P'}}]}}}}
  /four: {{get: {{parameters: [{{$ref: 'gone.yaml#/P'}}]}}}}
"""
    (folder / "api.yaml").write_text(spec)
    published = Published()
    config = {
        "spec": "specs/api.yaml",
        "refresh": QUICK,
        "context": OpenContext("api", str(tmp_path)),
    }
    async with open_tools(**config) as provider:
        assert await names(provider) == ["api:one"]
        assert [broken.reason.rpartition(": ")[2] for broken in provider.outcome.broken] == [
            "it is outside of the document's folder",
            "it is outside of the document's folder",
            "there is no such file",
        ]
        async with Watched(provider, published):
            (folder / "api.yaml").write_text(spec.replace("operationId: one", "operationId: won"))
            assert await next_set(published, 0) == ["api:won"]


async def test_a_table_is_a_document(
    open_tools: Any, call: Any, service: Service, url: str
) -> None:
    document = paths(one={}) | {"servers": [{"url": f"{url}/api"}]}
    async with open_tools(spec=document, refresh=QUICK) as provider:
        assert await call(provider, "api:one") == "/api/one"
        with anyio.fail_after(PATIENCE):
            await provider.watch(Published())  # there is nothing to wait for


async def test_documents_are_bounded(open_tools: Any, service: Service, url: str) -> None:
    service.documents["/openapi.json"] += b" " * 2000
    with pytest.raises(PluginError, match="larger than 1000 bytes"):
        async with open_tools(spec=f"{url}/openapi.json", max_bytes=1000):
            pass


def test_the_pace() -> None:
    middle = Pace(60.0, lambda: 0.5)
    assert middle.after(0) == 60.0
    assert [middle.after(failures) for failures in range(1, 7)] == [1, 2, 4, 8, 16, 32]
    assert middle.after(9) == 256.0
    assert middle.after(10) == middle.after(10_000) == 300.0
    assert Pace(3600.0, lambda: 0.5).after(100) == 3600.0
    assert Pace(60.0, lambda: 0.0).after(0) == pytest.approx(60.0 * (1 - JITTER))
    assert Pace(60.0, lambda: 1.0).after(0) == pytest.approx(60.0 * (1 + JITTER))
    assert Pace(0.0, lambda: 0.5).after(0) is None
    assert Pace(0.0, lambda: 0.5).after(2) == 2.0
