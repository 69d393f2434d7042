"""Documents that are large, and documents in which anything may be wrong."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema_rs
import pytest
from enclave_broker_openapi.catalog import Outcome, make_catalog
from enclave_broker_openapi.config import OpenapiConfig
from enclave_broker_openapi.document import Gathering
from enclave_broker_openapi.operations import METHODS
from enclave_broker_openapi.parsing import read
from enclave_broker_openapi.problems import DocumentError
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_documents import BASE
from openapi_large import large_document
from pydantic_core import to_json

BEARER = {"type": "bearer", "token": "a token"}


def outcome_of(document: Any) -> Outcome:
    gathering = Gathering(BASE, read(to_json(document), "the document"))
    for uri in gathering.missing():
        gathering.leave_out(uri, "it is not there")
    config = OpenapiConfig.model_validate({"name": "api", "spec": BASE, "auth": BEARER})
    return make_catalog(gathering.document(), config, lambda url: None)


def test_a_large_document() -> None:
    outcome = outcome_of(large_document(997))
    assert (len(outcome.made), outcome.broken, outcome.notes) == (997, [], [])
    tools = {made.operation_id: made.spec for made in outcome.made}
    largest = max(len(to_json(spec.input_schema)) for spec in tools.values())
    assert largest < 60_000
    # What they have in common they share.
    first, second = (tools[f"{method}Resource0"].input_schema for method in ("create", "replace"))
    assert first["$defs"]["Resource0"] is second["$defs"]["Resource0"]


SWAGGER: dict[str, Any] = {
    "swagger": "2.0",
    "host": "api.example.com",
    "basePath": "/v1",
    "consumes": ["application/json"],
    "securityDefinitions": {"key": {"type": "apiKey", "in": "header", "name": "X"}},
    "definitions": {"A": {"type": "object", "properties": {"a": {"$ref": "#/definitions/A"}}}},
    "parameters": {"P": {"name": "p", "in": "query", "type": "array", "items": {"type": "string"}}},
    "responses": {"R": {"description": "r", "schema": {"$ref": "#/definitions/A"}}},
    "paths": {
        "/a/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "type": "string"}],
            "get": {"parameters": [{"$ref": "#/parameters/P"}], "responses": {"200": {}}},
            "post": {
                "parameters": [{"name": "b", "in": "body", "schema": {"$ref": "#/definitions/A"}}],
                "responses": {"200": {"$ref": "#/responses/R"}},
                "security": [{"key": []}],
            },
            "put": {
                "consumes": ["multipart/form-data"],
                "parameters": [
                    {"name": "f", "in": "formData", "type": "file"},
                    {"name": "g", "in": "formData", "type": "string", "collectionFormat": "csv"},
                ],
            },
        }
    },
}
MODERN: dict[str, Any] = {
    "openapi": "3.2.0",
    "servers": [{"url": "https://{r}.example.com", "variables": {"r": {"default": "eu"}}}],
    "components": {
        "securitySchemes": {"o": {"type": "oauth2", "flows": {"clientCredentials": {}}}},
        "schemas": {
            "T": {
                "$id": "tree",
                "oneOf": [{"$ref": "#/components/schemas/U"}, {"type": "null"}],
                "discriminator": {"propertyName": "k", "mapping": {"u": "U"}},
            },
            "U": {
                "type": ["object", "null"],
                "required": ["k"],
                "properties": {"k": {"const": "u"}, "r": {"readOnly": True, "enum": [1, None]}},
                "patternProperties": {"^x": {"minimum": 3}},
                "additionalProperties": {"$ref": "other.json#/x"},
            },
        },
    },
    "paths": {
        "/b/{id}/{rest}": {
            "summary": "s",
            "parameters": [{"name": "id", "in": "path", "style": "label", "schema": {}}],
            "get": {
                "tags": ["t"],
                "deprecated": True,
                "parameters": [
                    {"name": "d", "in": "query", "style": "deepObject", "explode": True},
                    {"name": "c", "in": "cookie", "content": {"application/json": {}}},
                    {"name": "h", "in": "header", "schema": {"$ref": "#/components/schemas/T"}},
                ],
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"items": True}}}},
                    "default": {"content": {"text/plain": {}}},
                },
            },
            "post": {
                "operationId": "op",
                "security": [{"o": ["s"]}, {}],
                "servers": [{"url": "/x"}],
                "requestBody": {
                    "required": True,
                    "content": {
                        "multipart/form-data": {
                            "schema": {
                                "allOf": [{"properties": {"f": {"contentMediaType": "a/b"}}}]
                            },
                            "encoding": {"f": {"contentType": "image/png", "style": "form"}},
                        }
                    },
                },
            },
        },
        "/c": {"additionalOperations": {"PURGE": {}}},
    },
}


def places_in(node: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value but the whole."""
    found = []
    items: Any = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        found.append((*place, key))
        if isinstance(value, dict | list):
            found += places_in(value, (*place, key))
    return found


ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1e300,
    "",
    "x",
    "\x00\ud7ff",
    "{",
    "(?=a)",
    "http://[",
    "../..",
    [],
    [None],
    [[]],
    {},
    {"": None},
    {"$ref": "#"},
    {"$ref": "#/paths"},
    {"$ref": "//x/y#/z"},
    {"$ref": "#/components/schemas/T"},
    {"type": "nothing"},
    {"allOf": [{"$ref": "#/components/schemas/U"}]},
]


def operations_in(document: Any) -> set[str]:
    """Those that have to be there or told, however odd they are."""
    paths = document.get("paths")
    return {
        f"{method.upper()} {path}"
        for path, item in (paths if isinstance(paths, dict) else {}).items()
        if path.startswith("/") and isinstance(item, dict) and "$ref" not in item
        for method in item
        if method in METHODS
    }


@pytest.mark.parametrize("original", [SWAGGER, MODERN], ids=["2.0", "3.2"])
@settings(max_examples=100)
@given(data=st.data())
def test_whatever_is_wrong_each_operation_is_there_or_told(
    original: Any, data: st.DataObject
) -> None:
    document = copy.deepcopy(original)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places_in(document)))
        *way, last = place
        node = document
        for key in way:
            node = node[key]
        if data.draw(st.booleans()):
            node[last] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
        else:
            del node[last]
    try:
        outcome = outcome_of(document)
    except DocumentError:
        return
    keys = {made.key for made in outcome.made} | {broken.key for broken in outcome.broken}
    assert operations_in(document) <= keys | set(outcome.left_out)
    for made in outcome.made:
        for schema in (made.spec.input_schema, made.spec.output_schema):
            if schema is not None:
                jsonschema_rs.validator_for(
                    schema, offline=True, pattern_options=jsonschema_rs.RegexOptions()
                )
