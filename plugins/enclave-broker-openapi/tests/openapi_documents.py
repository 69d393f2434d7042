"""Small documents, and what is made of them without any network."""

from __future__ import annotations

from typing import Any

from enclave_broker_network.messages import OutboundRequest
from enclave_broker_openapi.authorising import Shown
from enclave_broker_openapi.catalog import Outcome, make_catalog
from enclave_broker_openapi.compiling import Compiled
from enclave_broker_openapi.config import OpenapiConfig
from enclave_broker_openapi.document import Gathering
from enclave_broker_openapi.schemas import Schemas

BASE = "https://api.example.com/v1/openapi.json"


def outcome_of(document: dict[str, Any], **config: Any) -> Outcome:
    """What becomes of a document that refers to nothing outside."""
    settings = {"name": "api", "spec": BASE, **config}
    gathering = Gathering(BASE, document)
    assert gathering.missing() == []
    return make_catalog(
        gathering.document(), OpenapiConfig.model_validate(settings), lambda url: None
    )


def paths(version: str = "3.1.0", **operations: Any) -> dict[str, Any]:
    """A document with ``GET /name`` operations."""
    return {
        "openapi": version,
        "info": {"title": "test", "version": "1"},
        "servers": [{"url": "https://api.example.com/v1"}],
        "paths": {
            f"/{name}": {"get": {"operationId": name, **node}} for name, node in operations.items()
        },
    }


def document(operations: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A document of ``"GET /path"`` → operation."""
    made = paths() | more
    for key, node in operations.items():
        method, _, path = key.partition(" ")
        made["paths"].setdefault(path, {})[method.lower()] = node
    return made


def one(operation: dict[str, Any], **config: Any) -> Compiled:
    """The one operation of a document, ``GET /op`` unless ``path``, ``method`` say otherwise."""
    path, method = operation.pop("path", "/op"), operation.pop("method", "get")
    document = paths(operation.pop("version", "3.1.0"))
    document["components"] = operation.pop("components", {})
    document["paths"] = {path: {method: {"operationId": "op", **operation}}}
    outcome = outcome_of(document, **config)
    assert not outcome.broken, outcome.broken
    [made] = outcome.made
    return made


def request_of(made: Compiled, arguments: dict[str, Any]) -> OutboundRequest:
    return made.plan.request(arguments, Shown())


def target_of(request: OutboundRequest) -> str:
    """Path and query below the server's URL."""
    assert request.url.startswith("https://api.example.com/v1/")
    return request.url.removeprefix("https://api.example.com/v1")


def header_of(request: OutboundRequest, name: str) -> str | None:
    found = [value for key, value in request.headers if key.lower() == name.lower()]
    assert len(found) <= 1
    return found[0] if found else None


def schemas_of(components: dict[str, Any], direction: Any, version: str = "3.1.0") -> Schemas:
    """The schemas of a document that has these."""
    document = {"openapi": version, "paths": {}, "components": {"schemas": components}}
    return Schemas(Gathering(BASE, document).document(), direction, lambda said: None)
