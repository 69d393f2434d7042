"""From a document to tools: names, filters, servers, and one broken operation among good ones."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_openapi.config import OpenapiConfig
from enclave_broker_openapi.problems import DocumentError
from openapi_documents import document, one, outcome_of, paths, request_of, target_of

TEXT: dict[str, Any] = {"type": "string"}


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ({"parameters": [{"$ref": "#/components/parameters/Gone"}]}, "there is no such place"),
        ({"parameters": [{"$ref": "gone.json#/x"}]}, "it could not be had"),
        ({"parameters": "x"}, "no list"),
        ({"parameters": ["x"]}, "a parameter is no object"),
        ({"parameters": [{"in": "query"}]}, "has no name"),
        ({"parameters": [{"name": "a", "in": "nowhere"}]}, "'a' is in 'nowhere'"),
        ({"parameters": [{"name": "a", "in": "query", "style": "x"}]}, "the style 'x'"),
        ({"parameters": [{"name": "a", "in": "path", "style": "form"}]}, "the style 'form'"),
        ({"parameters": [{"name": "a", "in": "query", "schema": 3}]}, "a schema that is none"),
        (
            {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/gone"}}}}},
            "refers to '#/gone'",
        ),
        ({"requestBody": {"content": {"nonsense": {}}}}, "the media type 'nonsense'"),
        ({"requestBody": {"content": {"multipart/mixed": {}}}}, "can't be made"),
        ({"servers": [{"url": "ftp://x"}]}, "no URL to send requests to"),
        ({"servers": [{"url": "https://{region}.example.com"}]}, "'region' has no value"),
        ({"servers": [{}]}, "its server has no URL"),
        ({"security": "x"}, "its security is no list"),
        ("x", "it is no object"),
    ],
)
def test_a_broken_operation_is_told_and_the_others_are_there(node: Any, reason: str) -> None:
    from enclave_broker_openapi.catalog import make_catalog
    from enclave_broker_openapi.document import Gathering
    from openapi_documents import BASE

    gathering = Gathering(BASE, document({"GET /good": {}, "PUT /bad": node, "GET /also": {}}))
    for uri in gathering.missing():
        gathering.leave_out(uri, "it could not be had")
    outcome = make_catalog(
        gathering.document(), OpenapiConfig(name="api", spec=BASE), lambda url: None
    )
    assert [made.key for made in outcome.made] == ["GET /good", "GET /also"]
    [broken] = outcome.broken
    assert broken.key == "PUT /bad"
    assert reason in broken.reason


def test_odd_paths() -> None:
    made = paths()
    made["paths"] = {
        "no-slash": {"get": {}},
        "x-extension": {"get": {}},
        "/text": "x",
        "/loop": {"$ref": "#/paths/~1loop"},
        "/trace": {"trace": {}},
        "/brace/{a": {"get": {}},
        "/unsaid/{a}": {"get": {}},
        "/twice/{a}/{a}": {"get": {"parameters": [{"name": "a", "in": "path", "schema": TEXT}]}},
        "/unplaced": {"get": {"parameters": [{"name": "a", "in": "path"}]}},
        "/spaced out/é": {"get": {}},
        "/query?action=x&b={b}": {"get": {}},
        "/#fragment": {"get": {}},
    }
    outcome = outcome_of(made)
    assert {one.key: one.reason.partition(":")[0] for one in outcome.broken} == {
        "GET no-slash": "the path 'no-slash' does not begin with a slash",
        "/text": "its path's item is no object",
        "/loop": "the reference '#/paths/~1loop' leads to itself",
        "TRACE /trace": "a TRACE is not sent",
        "GET /brace/{a": "its path has a brace without the other",
    }
    targets = {
        made.key: target_of(
            request_of(made, dict.fromkeys(made.spec.input_schema["properties"], "v"))
        )
        for made in outcome.made
    }
    assert targets == {
        "GET /unsaid/{a}": "/unsaid/v",
        "GET /twice/{a}/{a}": "/twice/v/v",
        "GET /unplaced": "/unplaced",
        "GET /spaced out/é": "/spaced%20out/%C3%A9",
        "GET /query?action=x&b={b}": "/query?action=x&b=v",
        "GET /#fragment": "/",
    }
    assert {note.key for note in outcome.notes} == {
        "GET /unsaid/{a}",
        "GET /unplaced",
        "GET /query?action=x&b={b}",
    }


def test_parameters_of_the_path_and_of_the_operation() -> None:
    made = paths()
    made["paths"]["/a"] = {
        "summary": "of the path",
        "parameters": [
            {"name": "a", "in": "query", "schema": {"type": "integer"}},
            {"name": "X-B", "in": "header", "schema": TEXT},
        ],
        "get": {
            "parameters": [
                {"name": "a", "in": "query", "schema": {"type": "boolean"}, "required": True},
                {"name": "x-b", "in": "header", "schema": {"type": "number"}},
                {"name": "Authorization", "in": "header", "schema": TEXT},
                {"name": "content-type", "in": "header", "schema": TEXT},
                {"name": "Host", "in": "header", "schema": TEXT},
                {"name": "Cookie", "in": "header", "schema": TEXT},
            ]
        },
    }
    outcome = outcome_of(made)
    [tool] = outcome.made
    assert tool.spec.input_schema == {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "x-b": {"type": "number"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert tool.spec.description == "of the path"
    assert [note.said for note in outcome.notes] == ["the header 'Host' can't be set"]


def test_a_path_that_refers_to_another() -> None:
    made = paths()
    item = {"get": {"operationId": "one"}, "post": {"operationId": "two"}}
    made["components"] = {"pathItems": {"Shared": item}}
    made["paths"]["/a"] = {
        "$ref": "#/components/pathItems/Shared",
        "post": {"operationId": "own"},
        "parameters": [{"name": "q", "in": "query"}],
    }
    assert {tool.spec.name for tool in outcome_of(made).made} == {"api:one", "api:own"}


def test_methods_of_openapi_3_2() -> None:
    made = paths("3.2.0")
    made["paths"]["/a"] = {
        "query": {"requestBody": {"content": {"application/json": {}}}},
        "additionalOperations": {"PURGE": {}, "bad method": {}, "CONNECT": {}},
    }
    outcome = outcome_of(made)
    assert [tool.plan.method for tool in outcome.made] == ["QUERY", "PURGE"]
    assert outcome.made[0].spec.read_only
    assert not outcome.made[1].spec.idempotent
    assert len(outcome.broken) == 2


def test_required_values_that_have_defaults_are_filled_in() -> None:
    made = one(
        {
            "parameters": [
                {
                    "name": "api-version",
                    "in": "query",
                    "required": True,
                    "schema": {"type": "string", "default": "v2"},
                },
                {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 10}},
            ]
        }
    )
    assert "required" not in made.spec.input_schema
    assert target_of(request_of(made, {})) == "/op?api-version=v2"
    assert target_of(request_of(made, {"api-version": "v3"})) == "/op?api-version=v3"


def test_what_the_configuration_sends_is_no_argument() -> None:
    made = one(
        {
            "parameters": [
                {"name": "team", "in": "query", "required": True, "schema": TEXT},
                {"name": "X-Version", "in": "header", "required": True, "schema": TEXT},
                {"name": "q", "in": "query", "schema": TEXT},
            ]
        },
        arguments={"team": "a b"},
        headers={"X-Version": "7"},
    )
    assert list(made.spec.input_schema["properties"]) == ["q"]
    assert target_of(request_of(made, {"q": "x"})) == "/op?team=a%20b&q=x"
    assert [(use.place, use.name) for use in made.uses] == [("header", "X-Version")]


@pytest.mark.parametrize(
    ("servers", "config", "expected"),
    [
        ([{"url": "https://a.example.com/v2/"}], {}, "https://a.example.com/v2"),
        ([{"url": "/v3"}], {}, "https://api.example.com/v3"),
        ([{"url": "."}], {}, "https://api.example.com/v1"),
        ([], {}, "https://api.example.com"),
        (None, {}, "https://api.example.com"),
        (
            [{"url": "https://{r}.example.com", "variables": {"r": {"default": "eu"}}}],
            {},
            "https://eu.example.com",
        ),
        (
            [{"url": "https://{r}.example.com", "variables": {"r": {"default": "eu"}}}],
            {"server_variables": {"r": "us"}},
            "https://us.example.com",
        ),
        (
            [{"url": "https://a.example.com"}],
            {"server": "https://b.example.com/x/"},
            "https://b.example.com/x",
        ),
    ],
)
def test_servers(servers: Any, config: dict[str, Any], expected: str) -> None:
    made = paths(op={})
    made["servers"] = servers
    if servers is None:
        del made["servers"]
    [tool] = outcome_of(made, **config).made
    assert tool.plan.server == expected


def test_the_nearest_servers_count() -> None:
    made = paths(op={"servers": [{"url": "https://op.example.com"}]}, other={})
    made["paths"]["/other"]["servers"] = [{"url": "https://path.example.com"}]
    assert [tool.plan.server for tool in outcome_of(made).made] == [
        "https://op.example.com",
        "https://path.example.com",
    ]


def test_servers_of_swagger() -> None:
    def server(**root: Any) -> str:
        node = {"swagger": "2.0", "paths": {"/a": {"get": {}}}, **root}
        [tool] = outcome_of(node).made
        return tool.plan.server

    assert server(host="x.example.com", basePath="/v1/", schemes=["http", "https"]) == (
        "https://x.example.com/v1"
    )
    assert server(host="x.example.com:8080", schemes=["http"]) == "http://x.example.com:8080"
    assert server(basePath="/v1") == "https://api.example.com/v1"


def test_descriptions() -> None:
    node = {
        "summary": "List",
        "description": "All of them.",
        "tags": ["b", "a"],
        "deprecated": True,
    }
    made = one(dict(node))
    assert made.spec.description == "List\n\nAll of them."
    assert made.spec.deprecated
    assert made.spec.tags == {"a", "b"}
    template = "{method} {path} {operation} [{tags}] {summary} {unknown}"
    made = one(dict(node), description=template)
    assert made.spec.description == "GET /op op [a, b] List {unknown}"
    assert one({}).spec.description == "GET /op"
    assert len(one({"description": "x" * 100_000}).spec.description) < 5000


def test_there_may_be_so_many_operations() -> None:
    many = {f"GET /{at}": {} for at in range(11)}
    assert len(outcome_of(document(many), max_operations=11).made) == 11
    with pytest.raises(DocumentError, match="more than 10 operations"):
        outcome_of(document(many), max_operations=10)


@pytest.mark.parametrize(
    "odd",
    [
        {"paths": None},
        {"paths": []},
        {"components": []},
        {"components": {"securitySchemes": []}},
        {"servers": {}},
        {"servers": ["x"]},
        {"security": {}},
        {"tags": "x"},
        {"info": None},
    ],
)
def test_odd_documents_do_not_fall_over(odd: dict[str, Any]) -> None:
    outcome = outcome_of({**paths(op={"tags": "x", "responses": []}), **odd})
    assert len(outcome.made) + len(outcome.broken) == (0 if "paths" in odd else 1)


@pytest.mark.parametrize(("least", "expected"), [(None, 1), (0, 1), (3, 3)])
def test_a_text_in_a_path_is_not_empty(least: int | None, expected: int) -> None:
    schema = TEXT if least is None else {**TEXT, "minLength": least}
    made = one({"path": "/{a}", "parameters": [{"name": "a", "in": "path", "schema": schema}]})
    assert made.spec.input_schema["properties"]["a"]["minLength"] == expected
