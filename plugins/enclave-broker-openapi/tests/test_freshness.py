"""A source's document that changes, breaks, goes and comes back, and what becomes of its tools."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from enclave_broker_openapi.freshness import JITTER, Pace
from openapi_changing import LOCAL, PATIENCE, QUICK, Service, Watched, names, next_set, until
from openapi_documents import paths
from pydantic_core import to_json

from enclave_broker_core import open_broker
from enclave_broker_core.errors import ConfigError, PluginError
from enclave_broker_core.testing.providers import Published

pytestmark = pytest.mark.anyio


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


async def test_what_was_not_there_is_looked_for_again(
    open_tools: Any, service: Service, url: str
) -> None:
    operation = {"parameters": [{"$ref": "parts.json#/P"}]}
    document = paths(one=operation, two={}) | {"servers": [{"url": "/api"}]}
    service.documents["/openapi.json"] = to_json(document)
    published = Published()
    async with open_tools(spec=f"{url}/openapi.json", refresh=QUICK) as provider:
        assert await names(provider) == ["api:two"]
        async with Watched(provider, published):
            await until(lambda: len(service.given) > 5)
            assert published.sets == []
            service.documents["/parts.json"] = to_json({"P": {"name": "p", "in": "query"}})
            assert await next_set(published, 0) == ["api:one", "api:two"]
        assert len(published.sets) == 1


@pytest.mark.parametrize("error", [ConfigError("another has a tool of that name"), ValueError("?")])
async def test_tools_that_nobody_takes_are_not_taken(
    open_tools: Any, service: Service, url: str, error: Exception
) -> None:
    async def refuse(tools: Any) -> None:
        raise error

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
