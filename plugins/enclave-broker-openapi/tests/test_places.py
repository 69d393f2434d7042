"""Where a document may be, what it may refer to, and where it may send requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from openapi_changing import LOCAL, PATIENCE, QUICK, Service, Watched, names, next_set
from openapi_documents import paths
from pydantic_core import to_json

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import PluginError
from enclave_broker_core.testing.providers import Published

pytestmark = pytest.mark.anyio


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
        "odd": {"parameters": [{"$ref": "http://[x#/y"}]},
    }
    document = paths(**operations) | {"servers": [{"url": "/api"}]}
    service.documents["/openapi.json"] = to_json(document)
    async with open_tools(spec=f"{url}/openapi.json") as provider:
        assert await names(provider) == ["api:own"]
        reasons = {broken.key: broken.reason for broken in provider.outcome.broken}
        assert "the host is not among the allowed ones" in reasons["GET /other"]
        assert "the host is not among the allowed ones" in reasons["GET /ref"]
        assert "is not read from here" in reasons["GET /file"]
        assert "is no URL" in reasons["GET /odd"]


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
  /five: {{get: {{parameters: [{{$ref: 'a%00b.yaml#/P'}}]}}}}
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
            "its path is none",
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
