"""Makes documents as large as one wants, of the kind that services publish."""

from __future__ import annotations

from typing import Any

_ERROR = {"description": "It failed.", "content": {"application/json": {"schema": {}}}}


def large_document(operations: int) -> dict[str, Any]:
    """A document of OpenAPI 3.1 with so many operations: five for each of its resources.

    Each resource has its own schemas, which refer to those of others and to themselves.
    """
    resources = -(-operations // 5)
    schemas: dict[str, Any] = {"Error": _error()}
    paths: dict[str, Any] = {}
    for at in range(resources):
        name = f"Resource{at}"
        schemas[name] = _resource(at, resources)
        schemas[f"{name}List"] = _list_of(name)
        paths[f"/v1/resources{at}"] = {
            "get": _operation(f"list{name}s", at, answer=f"{name}List", parameters=_paging()),
            "post": _operation(f"create{name}", at, answer=name, body=name),
        }
        paths[f"/v1/resources{at}/{{id}}"] = {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "get": _operation(f"get{name}", at, answer=name),
            "put": _operation(f"replace{name}", at, answer=name, body=name),
            "delete": _operation(f"delete{name}", at),
        }
    _cut(paths, resources * 5 - operations)
    return {
        "openapi": "3.1.0",
        "info": {"title": "A large service", "version": "1.0.0"},
        "servers": [{"url": "https://api.example.com"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": {
                "Id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
            },
            "responses": {"Error": _ERROR | {"content": _json("Error")}},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _cut(paths: dict[str, Any], surplus: int) -> None:
    last = list(paths.values())[-1]
    for method in ("delete", "put", "get")[:surplus]:
        del last[method]


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _operation(
    name: str,
    at: int,
    *,
    answer: str | None = None,
    body: str | None = None,
    parameters: list[Any] | None = None,
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": name,
        "summary": f"The operation {name}",
        "description": f"What {name} does is told here in a sentence or two, as people do. " * 3,
        "tags": [f"group{at % 17}"],
        "responses": {
            "200": {"description": "It worked."},
            "default": {"$ref": "#/components/responses/Error"},
        },
    }
    if answer is not None:
        made["responses"]["200"]["content"] = _json(answer)
    if body is not None:
        made["requestBody"] = {"required": True, "content": _json(body)}
    if parameters is not None:
        made["parameters"] = parameters
    return made


def _paging() -> list[dict[str, Any]]:
    return [
        {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "default": 20},
        },
        {"name": "cursor", "in": "query", "schema": {"type": "string"}},
        {
            "name": "state",
            "in": "query",
            "explode": False,
            "schema": {"type": "array", "items": {"enum": ["draft", "open", "closed"]}},
        },
        {"name": "X-Request-Id", "in": "header", "schema": {"type": "string", "format": "uuid"}},
    ]


def _resource(at: int, resources: int) -> dict[str, Any]:
    other = (at * 7 + 1) % resources
    return {
        "type": "object",
        "description": f"One of the resources of kind {at}.",
        "required": ["id", "name", "state"],
        "properties": {
            "id": {"type": "string", "readOnly": True},
            "name": {"type": "string", "minLength": 1, "maxLength": 200},
            "state": {"type": "string", "enum": ["draft", "open", "closed"]},
            "amount": {"type": ["number", "null"], "description": "In the smallest unit."},
            "created_at": {"type": "string", "format": "date-time", "readOnly": True},
            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 50},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "parent": {"$ref": f"#/components/schemas/Resource{at}"},
            "related": {
                "oneOf": [{"$ref": f"#/components/schemas/Resource{other}"}, {"type": "null"}]
            },
            "address": {
                "type": "object",
                "properties": {
                    "street": {"type": "string"},
                    "city": {"type": "string"},
                    "country": {"type": "string", "pattern": "^[A-Z]{2}$"},
                },
            },
        },
    }


def _list_of(name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}},
            "next": {"type": ["string", "null"]},
        },
    }


def _error() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "string"},
            "message": {"type": "string"},
            "details": {"type": "array", "items": {"type": "object"}},
        },
    }
