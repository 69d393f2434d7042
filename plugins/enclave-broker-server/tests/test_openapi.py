"""The API's own description, held against what the server has and answers."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import enclave_broker_server.filters as filters
import jsonschema_rs
import pytest
from enclave_broker_server.answers import CODES
from enclave_broker_server.app import create_app
from enclave_broker_server.openapi import document
from enclave_broker_server.openapi_requests import SENT
from http_client import JSON, STREAM, Client, Names
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel
from starlette.routing import BaseRoute, Route, WebSocketRoute
from wire_schema import PAYLOADS

from enclave_broker_core import Broker, SessionLimits
from enclave_broker_core.models import Frozen

pytestmark = pytest.mark.anyio

METHODS = {"get", "post", "delete", "put", "patch", "head", "options", "trace"}


def described(*, secured: bool = False) -> dict[str, Any]:
    return document("1.2.3", secured=secured, longest_code=1000)


def operations(whole: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in whole["paths"].items():
        for method in METHODS & item.keys():
            yield method, path, item[method]


@pytest.mark.parametrize("secured", [False, True])
async def test_it_is_valid(opened: Any, secured: bool) -> None:
    options = {"authenticators": [Names()]} if secured else {}
    async with opened(Broker(), **options) as http:
        whole = (await http.get("/openapi.json")).json()
    assert whole["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(whole).iter_errors()] == []
    for name, schema in whole["components"]["schemas"].items():
        jsonschema_rs.meta.validate({**schema, "components": whole["components"]})
        assert re.fullmatch(r"[A-Za-z_]+", name)


def test_each_operation_has_a_name_and_words() -> None:
    whole = described()
    tags = {tag["name"] for tag in whole["tags"]}
    named = [operation["operationId"] for _, _, operation in operations(whole)]
    assert len(set(named)) == len(named)
    for _, path, operation in operations(whole):
        assert operation["summary"].endswith(".")
        assert set(operation["tags"]) <= tags
        for parameter in [*operation.get("parameters", ()), *_parameters(whole, path)]:
            assert parameter["description"]
        for answer in operation["responses"].values():
            assert "$ref" in answer or answer["description"]


def _parameters(whole: Mapping[str, Any], path: str) -> list[Any]:
    found: list[Any] = whole["paths"][path].get("parameters", [])
    assert {one["name"] for one in found} == set(re.findall(r"{(\w+)}", path))
    return found


def test_every_route_is_described_and_nothing_else() -> None:
    routes: set[tuple[str, str]] = set()
    for route in _routes(create_app(Broker())):
        assert isinstance(route, Route | WebSocketRoute)
        path = route.path.replace(":path}", "}")
        methods = (route.methods or set()) if isinstance(route, Route) else {"GET"}
        routes |= {(method.lower(), path) for method in methods - {"HEAD"}}
    assert {(method, path) for method, path, _ in operations(described())} == routes


def _routes(app: Any) -> list[BaseRoute]:
    found: list[BaseRoute] = app._app.routes
    return found


def test_what_any_request_can_be_refused_with_is_said_of_every_one() -> None:
    whole = described()
    always = {"400", "403", "405", "408", "414", "421", "429", "431", "500", "503"}
    for _, path, operation in operations(whole):
        assert always <= operation["responses"].keys(), path
        refers = {answer["$ref"] for answer in operation["responses"].values() if "$ref" in answer}
        assert refers <= {f"#/components/responses/{status}" for status in CODES}


def test_every_code_of_an_error_is_described() -> None:
    whole = described()
    answers = whole["components"]["responses"]
    assert answers.keys() == {str(status) for status in CODES}
    for status, code in CODES.items():
        schema = answers[str(status)]["content"]["application/json"]["schema"]
        told = schema["allOf"][1]["properties"]["code"]["enum"]
        assert told == ([code, filters.InvalidFilterError.code] if status == 400 else [code])
    used = {
        answer["$ref"].rpartition("/")[2]
        for _, _, operation in operations(described(secured=True))
        for answer in operation["responses"].values()
        if "$ref" in answer
    }
    assert used == answers.keys()


@pytest.mark.parametrize("secured", [False, True])
def test_callers_have_to_be_known_only_where_there_is_somebody_to_know_them(secured: bool) -> None:
    whole = described(secured=secured)
    needed = whole.get("security", [])
    assert needed == ([{"bearer": []}] if secured else [])
    for _, path, operation in operations(whole):
        ways = operation.get("security", needed)
        ticketed = path.endswith(("/stream", "/ws"))
        if path in ("/health", "/ready", "/openapi.json"):
            assert ways == []
        elif ticketed:
            assert ways == [{"bearer": []} if secured else {}, {"ticket": []}]
        assert ("401" in operation["responses"]) is bool(ways)
        for way in ways:
            assert way.keys() <= whole["components"]["securitySchemes"].keys()


def _models() -> Iterator[tuple[str, type[BaseModel]]]:
    """The models of all that is sent, with those that they are made of."""
    waiting = [*SENT.items(), ("EventFilter", filters._Filter)]
    seen: set[str] = set()
    while waiting:
        name, model = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name, model
        text = str(model.model_fields)
        for _, part in inspect.getmembers(inspect.getmodule(model), inspect.isclass):
            if issubclass(part, Frozen) and re.search(rf"\b{part.__name__}\b", text):
                prefix = "Filter" if part.__module__ == filters.__name__ else ""
                waiting.append((f"{prefix}{part.__name__}", part))


@pytest.mark.parametrize(("name", "model"), [*_models()])
def test_every_field_of_what_is_sent_is_described(name: str, model: type[BaseModel]) -> None:
    schema = described()["components"]["schemas"][name]
    for form in schema.get("oneOf", []) if name == "Filter_Pattern" else [schema]:
        fields = {field.alias or key: field for key, field in model.model_fields.items()}
        assert form["properties"].keys() == fields.keys()
        assert form["additionalProperties"] is False
        required = {key for key, field in fields.items() if field.is_required()}
        assert set(form.get("required", ())) == required


def test_the_models_of_all_that_is_sent_are_found() -> None:
    found = {name for name, _ in _models()}
    assert found >= {*SENT, "RunConfig", "DeclaredTool", "EventFilter", "Filter_Pattern"}
    whole = described()["components"]["schemas"]
    assert {name for name in whole if name.startswith("Filter")} <= found


def test_events_are_described_as_the_wire_has_them() -> None:
    whole = described()["components"]["schemas"]
    kinds = {one["$ref"].rpartition("_")[0] and one["$ref"] for one in whole["Event"]["oneOf"]}
    assert kinds == {f"#/components/schemas/Event_{kind}" for kind in PAYLOADS}
    for kind, fields in PAYLOADS.items():
        payload = whole[f"Event_{kind}"]["properties"]["payload"]
        assert payload["properties"].keys() == {name.rstrip("_") for name in fields}
        assert set(payload["required"]) == {name for name in fields if not name.endswith("_")}


async def test_each_example_is_one(client: Client) -> None:
    whole = (await client.http.get("/openapi.json")).json()
    shown = {
        name: schema["examples"]
        for name, schema in whole["components"]["schemas"].items()
        if "examples" in schema
    }
    assert shown.keys() == {*SENT, "EventFilter"}
    for name, examples in shown.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": whole["components"]}
        for example in examples:
            jsonschema_rs.validate(schema, example)
    for example in shown["NewSession"]:
        assert (await client.post("/sessions", example, **JSON)).status_code == 201
    await client.post("/sessions", {"sessionId": "s_1"})
    for example in shown["ToolCall"]:
        answer = await client.post("/sessions/s_1/tool-calls", example)
        assert answer.json()["ok"] is True
    for example in shown["EventFilter"]:
        answer = await client.post("/sessions", {"code": "1", "filter": example})
        assert "x-refused" not in answer.headers


async def test_code_is_as_long_as_the_broker_lets_it_be(opened: Any) -> None:
    async with opened(Broker(limits=SessionLimits(max_code_bytes=77))) as http:
        sent = (await http.get("/openapi.json")).json()["components"]["schemas"]
    assert sent["Execution"]["properties"]["code"]["maxLength"] == 77
    assert sent["NewSession"]["properties"]["code"]["anyOf"][0]["maxLength"] == 77


# What the description could not say, so that it is not so any more


@pytest.mark.parametrize("ended", ["1", "yes", ""])
async def test_ended_is_true_or_false(client: Client, ended: str) -> None:
    answer = await client.http.get("/sessions", params={"ended": ended})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"runtime": ""}, "runtime"),
        ({"config": {"maxToolCalls": 0}}, "config.maxToolCalls"),
        ({"config": {"maxToolCalls": 10**400}}, "config.maxToolCalls"),
        ({"config": {"maxToolCalls": 1.5}}, "config.maxToolCalls"),
        ({"config": {"maxToolCalls": True}}, "config.maxToolCalls"),
        ({"config": {"maxToolCalls": "1"}}, "config.maxToolCalls"),
        ({"allowedTools": ["x" * 513]}, "allowedTools.0"),
        ({"clientTools": [{"name": "mine"}]}, "clientTools.0.name"),
        ({"clientTools": [{"name": "client:é"}]}, "clientTools.0.name"),
        ({"clientTools": [{"name": "client:a", "description": "x" * 8193}]}, "clientTools.0.descr"),
        ({"clientTools": [{"name": f"client:{n}"} for n in range(65)]}, "clientTools"),
    ],
)
async def test_what_is_wrong_is_named_as_it_was_sent(
    client: Client, body: dict[str, Any], field: str
) -> None:
    answer = await client.post("/sessions", body, **JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    (detail,) = answer.json()["details"]
    assert detail["type"] == "validation_info"
    assert detail["field"].startswith(field)


async def test_a_whole_number_is_an_integer_however_it_is_written(client: Client) -> None:
    answer = await client.http.post(
        "/sessions",
        content=b'{"sessionId": "s_1", "config": {"maxToolCalls": 1.0}}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 201
    call = {"name": "users:get", "args": {"id": 1}}
    codes = []
    for _ in range(2):
        said = (await client.post("/sessions/s_1/tool-calls", call)).json()
        codes.append(said.get("error", {}).get("code"))
    assert codes == [None, "MAX_TOOL_CALLS"]


async def test_a_refusal_has_the_form_of_the_stream_that_is_wanted(client: Client) -> None:
    body = {"sessionId": "s_1", "code": "1", "runtime": "cobol"}
    answer = await client.post("/sessions", body, Accept="text/event-stream")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-refused"] == "400"
    head, data = answer.text.removesuffix("\n\n").split("\n")
    assert head == "id: 1"
    assert json.loads(data.removeprefix("data: "))["type"] == "final"
    answer = await client.post("/sessions", body, **STREAM)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert json.loads(answer.text)["type"] == "final"


async def test_the_end_of_a_run_is_not_filtered_away(client: Client) -> None:
    await client.post("/sessions", {"sessionId": "s_1"})
    nothing = {"mode": "include", "rules": []}
    body = {"code": "print(1)\n2", "filter": nothing}
    (last,) = await client.events(body, "/sessions/s_1/execute")
    assert last["payload"] == {"path": ["run", "run_1"], "data": 2, "hasNext": False}


async def test_a_socket_is_not_opened_without_an_upgrade(client: Client) -> None:
    await client.post("/sessions", {"sessionId": "s_1"})
    answer = await client.http.get("/sessions/s_1/ws")
    assert (answer.status_code, answer.json()["code"]) == (426, "UPGRADE_REQUIRED")
    assert answer.headers["upgrade"] == "websocket"
    assert (await client.http.get("/sessions/s_none/ws")).status_code == 404
    answer = await client.http.post("/sessions/s_1/ws")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_an_answer_without_content_says_nothing_of_it(client: Client) -> None:
    await client.events({"sessionId": "s_1", "code": "1"})
    answer = await client.http.get(
        "/sessions/s_1/stream", headers={"Accept": "text/event-stream", "Last-Event-ID": "99"}
    )
    preflight = await client.http.options("/sessions")
    for one in (answer, preflight):
        assert one.status_code == 204
        assert one.headers.keys().isdisjoint({"content-type", "content-length"})
        assert one.content == b""
