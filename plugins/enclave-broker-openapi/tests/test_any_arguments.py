"""Whatever arguments fit a tool's schema: they arrive as they are, or are refused, and never
change anything of the request but what they are for.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from enclave_broker_openapi.config import OpenapiConfig
from enclave_broker_openapi.opening import open_source
from hypothesis import given
from hypothesis import strategies as st
from openapi_arguments import CHARACTERS, fitting
from openapi_documents import one, paths, request_of
from pydantic_core import to_json

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import ArgumentsError
from enclave_broker_core.testing.contexts import RecordingContext

LOCAL = {"schemes": ["http"], "allow_private": ["loopback"]}
TEXT: dict[str, Any] = {"type": "string"}
TEXTS: dict[str, Any] = {"type": "array", "items": TEXT, "minItems": 1}
TEXTS_BY_NAME: dict[str, Any] = {
    "type": "object",
    "additionalProperties": TEXT,
    "minProperties": 1,
}


def parameter(name: str, place: str, schema: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "schema": schema, **more}


def body(kind: str, schema: Any) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema}}}


ANY_JSON: dict[str, Any] = {"type": ["object", "array", "string", "number", "null"]}
FIELDS: dict[str, Any] = {
    "type": "object",
    "properties": {"text": TEXT, "texts": TEXTS, "number": {"type": "number"}},
    "required": ["text", "texts", "number"],
    "additionalProperties": False,
}
DOCUMENT = paths(
    query={
        "parameters": [
            parameter("text", "query", TEXT),
            parameter("texts", "query", TEXTS),
            parameter("joined", "query", TEXTS, explode=False),
            parameter("pipes", "query", TEXTS, style="pipeDelimited", explode=False),
            parameter("deep", "query", TEXTS_BY_NAME, style="deepObject", explode=True),
            parameter("reserved", "query", TEXT, allowReserved=True),
            parameter("number", "query", {"type": "number"}),
        ]
    },
    header={"parameters": [parameter("X-Text", "header", TEXT)]},
    cookie={"parameters": [parameter("c", "cookie", TEXT), parameter("d", "cookie", TEXT)]},
    json={"requestBody": body("application/json", ANY_JSON)},
    form={"requestBody": body("application/x-www-form-urlencoded", FIELDS)},
    multipart={"requestBody": body("multipart/form-data", FIELDS)},
    text={"requestBody": body("text/plain", TEXT)},
    bytes={"requestBody": body("application/octet-stream", {})},
)
DOCUMENT["servers"] = [{"url": "/v1"}]
DOCUMENT["paths"]["/path/{text}/x{label}/{matrix}/{texts}.json"] = {
    "get": {
        "operationId": "path",
        "parameters": [
            parameter("text", "path", TEXT),
            parameter("label", "path", TEXT, style="label"),
            parameter("matrix", "path", TEXT, style="matrix"),
            parameter("texts", "path", TEXTS),
        ],
    }
}


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says what came, as it came. Its document is at ``/openapi.json``."""
    content, more = b"", True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False)
    said: Any = DOCUMENT
    if scope["path"] != "/openapi.json":
        said = {
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
            "body": b64encode(content).decode(),
        }
    start = {"type": "http.response.start", "status": 200}
    await send({**start, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": to_json(said)})


class Caller:
    """Calls the tools of the echo's document from a test that is not async."""

    def __init__(self, portal: BlockingPortal, provider: Any, url: str) -> None:
        self._portal = portal
        self.tools = {tool.spec.name.partition(":")[2]: tool for tool in provider._tools}
        self.host = url.removeprefix("http://")

    def arguments(self, name: str, data: st.DataObject) -> dict[str, Any]:
        return data.draw(fitting(self.tools[name].spec.input_schema))

    def __call__(self, name: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
        """What the echo says; None when the arguments were refused."""
        tool = self.tools[name]
        checked = tool.validate(to_json(arguments))
        try:
            said: dict[str, Any] = self._portal.call(
                tool.invoke, checked, RecordingContext(tool.spec.name)
            )
        except ArgumentsError as problem:
            refused = problem.fields[0][0].partition(".")[0]
        else:
            refused = None
        assert refused is None or refused in arguments
        if refused is not None:
            return None
        headers = dict(said["headers"])
        assert headers["host"] == self.host
        known = {"host", "accept", "accept-encoding", "user-agent", "content-length"}
        expected = {"header": {"x-text"}, "cookie": {"cookie"}}.get(name, set())
        if "body" in arguments:
            expected = expected | {"content-type"}
        assert headers.keys() - known == expected
        assert len(said["headers"]) == len(headers)
        if name != "path":
            assert said["path"] == f"/v1/{name}"
        if name != "query":
            assert said["query"] == ""
        return said


@pytest.fixture(scope="module")
def caller(serve: Callable[[Any], str]) -> Iterator[Caller]:
    url = serve(echo)
    config = OpenapiConfig.model_validate(
        {"name": "api", "spec": f"{url}/openapi.json", "network": LOCAL, "refresh": 0}
    )
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(open_source(config, OpenContext("api"))) as provider,
    ):
        yield Caller(portal, provider, url)


@given(data=st.data())
def test_in_a_path(caller: Caller, data: st.DataObject) -> None:
    arguments = caller.arguments("path", data)
    said = caller("path", arguments)
    if said is None:
        texts = [arguments["text"], arguments["label"], arguments["matrix"], *arguments["texts"]]
        assert any(_is_risky(text) for text in texts)
        return
    version, word, text, label, matrix, texts = said["path"].removeprefix("/").split("/")
    assert (version, word) == ("v1", "path")
    assert unquote(text) == arguments["text"]
    assert unquote(label.removeprefix("x.")) == arguments["label"]
    assert unquote(matrix.removeprefix(";matrix").removeprefix("=")) == arguments["matrix"]
    assert [unquote(one) for one in texts.removesuffix(".json").split(",")] == arguments["texts"]


def _is_risky(text: str) -> bool:
    plain = unquote(unquote(text))
    return (
        plain.partition(";")[0] in ("", ".", "..")
        or re.search(r"[/\\\x00-\x1f\x7f-\x9f]", plain) is not None
    )


@given(data=st.data())
def test_in_a_query(caller: Caller, data: st.DataObject) -> None:
    arguments = caller.arguments("query", data)
    said = caller("query", arguments)
    assert said is not None
    pairs = [tuple(map(unquote, part.partition("=")[::2])) for part in said["query"].split("&")]
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    deep = {f"deep[{key}]": [value] for key, value in arguments["deep"].items()}
    assert {key: value for key, value in found.items() if key.startswith("deep[")} == deep
    assert found.keys() - deep.keys() == arguments.keys() - {"deep"}
    assert found["text"] == [arguments["text"]]
    assert found["texts"] == arguments["texts"]
    assert found["reserved"] == [arguments["reserved"]]
    assert json.loads(found["number"][0]) == arguments["number"]
    raw = dict(part.split("=", 1) for part in said["query"].split("&"))
    assert [unquote(one) for one in raw["joined"].split(",")] == arguments["joined"]
    # A separator in a value can't be told from one between values, once it is decoded.
    assert unquote(raw["pipes"]) == "|".join(arguments["pipes"])


@given(data=st.data())
def test_in_a_header(caller: Caller, data: st.DataObject) -> None:
    arguments = caller.arguments("header", data)
    said = caller("header", arguments)
    text = arguments["X-Text"]
    if said is None:
        assert not text.isascii() or not text.isprintable() or text != text.strip()
    else:
        assert dict(said["headers"])["x-text"] == text


@given(data=st.data())
def test_in_cookies(caller: Caller, data: st.DataObject) -> None:
    arguments = caller.arguments("cookie", data)
    said = caller("cookie", arguments)
    assert said is not None
    pairs = dict(pair.split("=", 1) for pair in dict(said["headers"])["cookie"].split("; "))
    assert {name: unquote(value) for name, value in pairs.items()} == arguments


@given(data=st.data())
def test_as_json(caller: Caller, data: st.DataObject) -> None:
    arguments = caller.arguments("json", data)
    said = caller("json", arguments)
    assert said is not None
    assert json.loads(b64decode(said["body"])) == arguments["body"]


@given(data=st.data())
def test_as_a_form(caller: Caller, data: st.DataObject) -> None:
    fields = caller.arguments("form", data)["body"]
    said = caller("form", {"body": fields})
    assert said is not None
    pairs = parse_qsl(b64decode(said["body"]).decode(), keep_blank_values=True)
    _check_fields(fields, pairs)
    assert all(unquote_plus(value) is not None for _, value in pairs)


@given(data=st.data())
def test_as_a_form_with_parts(caller: Caller, data: st.DataObject) -> None:
    fields = caller.arguments("multipart", data)["body"]
    said = caller("multipart", {"body": fields})
    assert said is not None
    boundary = dict(said["headers"])["content-type"].partition("boundary=")[2]
    content = b64decode(said["body"])
    parts = content.split(f"--{boundary}".encode())
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    pairs = []
    for part in parts[1:-1]:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        [(_, name)] = re.findall(r'(form-data); name="([^"]*)"', head.decode())
        pairs.append((name, value.removesuffix(b"\r\n").decode()))
    _check_fields(fields, pairs)


def _check_fields(fields: dict[str, Any], pairs: list[tuple[str, str]]) -> None:
    assert [value for name, value in pairs if name == "text"] == [fields["text"]]
    assert [value for name, value in pairs if name == "texts"] == fields["texts"]
    [number] = [value for name, value in pairs if name == "number"]
    assert json.loads(number) == fields["number"]
    assert len(pairs) == 2 + len(fields["texts"])


@given(data=st.data())
def test_as_text_and_as_bytes(caller: Caller, data: st.DataObject) -> None:
    text = caller.arguments("text", data)["body"]
    said = caller("text", {"body": text})
    assert said is not None
    assert b64decode(said["body"]).decode() == text
    content = data.draw(st.binary())
    said = caller("bytes", {"body": {"base64": b64encode(content).decode()}})
    assert said is not None
    assert b64decode(said["body"]) == content


@given(name=st.text(CHARACTERS, min_size=1), value=st.text(CHARACTERS))
def test_the_name_of_a_parameter_is_no_more_than_that(name: str, value: str) -> None:
    made = one({"parameters": [{"name": name, "in": "query", "schema": TEXT}]})
    [argument] = made.spec.input_schema["properties"]
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", argument)
    key, _, found = request_of(made, {argument: value}).url.partition("?")[2].partition("=")
    assert (unquote(key), unquote(found)) == (name, value)
