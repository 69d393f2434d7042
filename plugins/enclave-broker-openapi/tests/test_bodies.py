"""Bodies of every media type, as bytes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_documents import header_of, one, outcome_of, request_of

from enclave_broker_core.errors import ArgumentsError

TEXT: dict[str, Any] = {"type": "string"}
FILE: dict[str, Any] = {"type": "string", "format": "binary"}


def with_body(content: Any, **more: Any) -> Any:
    return one({"method": "post", "requestBody": {"content": content}, **more})


def sent(content: Any, value: Any, **more: Any) -> tuple[str, bytes]:
    request = request_of(with_body(content, **more), {"body": value})
    kind = header_of(request, "content-type")
    assert kind is not None
    assert request.body is not None
    return kind, request.body


@pytest.mark.parametrize(
    ("media_type", "value", "content_type", "expected"),
    [
        ("application/json", {"a": [1, None]}, "application/json", b'{"a":[1,null]}'),
        ("application/vnd.api+json", None, "application/vnd.api+json", b"null"),
        ("application/json; charset=utf-8", "é", "application/json; charset=utf-8", b'"\xc3\xa9"'),
        ("*/*", {"a": 1}, "application/json", b'{"a":1}'),
        ("text/plain", "é", "text/plain; charset=utf-8", b"\xc3\xa9"),
        ("text/csv; charset=latin-1", "é", "text/csv; charset=latin-1", b"\xe9"),
        ("application/xml", "<a/>", "application/xml; charset=utf-8", b"<a/>"),
        ("application/soap+xml", "<a/>", "application/soap+xml; charset=utf-8", b"<a/>"),
        ("application/octet-stream", "text", "application/octet-stream", b"text"),
        ("image/png", {"base64": "AP8="}, "image/png", b"\x00\xff"),
        ("image/*", {"base64": "AA==", "content_type": "image/gif"}, "image/gif", b"\x00"),
        ("application/x-ndjson", [{"a": 1}, 2], "application/x-ndjson", b'{"a":1}\n2\n'),
        ("application/json-seq", [1], "application/json-seq", b"\x1e1\n"),
    ],
)
def test_media_types(media_type: str, value: Any, content_type: str, expected: bytes) -> None:
    assert sent({media_type: {}}, value) == (content_type, expected)


def test_of_several_json_is_sent() -> None:
    content = {"application/xml": {}, "multipart/form-data": {}, "text/json+json": {}}
    assert sent(content, 1)[0] == "text/json+json"
    assert sent({**content, "application/json": {}}, 1)[0] == "application/json"


def test_a_body_may_be_left_out_unless_it_is_required() -> None:
    made = with_body({"application/json": {}})
    assert "required" not in made.spec.input_schema
    request = request_of(made, {})
    assert (request.body, header_of(request, "content-type")) == (None, None)
    made = one({"requestBody": {"required": True, "content": {"application/json": {}}}})
    assert made.spec.input_schema["required"] == ["body"]


def form(properties: dict[str, Any], **encoding: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return {"application/x-www-form-urlencoded": {"schema": schema, "encoding": encoding}}


@pytest.mark.parametrize(
    ("value", "encoding", "expected"),
    [
        ({"a": "x y&z=é+"}, {}, b"a=x+y%26z%3D%C3%A9%2B"),
        ({"a": [1, 2, None]}, {}, b"a=1&a=2"),
        ({"a": {"b": 1}}, {}, b"a=%7B%22b%22%3A1%7D"),
        ({"a": None, "b": True, "c": 1.0}, {}, b"b=true&c=1"),
        ({"a": [1, 2]}, {"a": {"explode": False}}, b"a=1,2"),
        ({"a": [1, 2]}, {"a": {"style": "pipeDelimited"}}, b"a=1%7C2"),
        ({"a": {"b": 1}}, {"a": {"style": "deepObject", "explode": True}}, b"a%5Bb%5D=1"),
        ({"a": {"b": 1}}, {"a": {"style": "form", "explode": True}}, b"b=1"),
        ({"a": [1]}, {"a": {"contentType": "application/json"}}, b"a=%5B1%5D"),
        ({"a": "/x?"}, {"a": {"allowReserved": True}}, b"a=/x?"),
        ({}, {}, b""),
    ],
)
def test_html_forms(value: Any, encoding: Any, expected: bytes) -> None:
    assert sent(form({}, **encoding), value) == ("application/x-www-form-urlencoded", expected)


def parts(content: Any, value: Any, **more: Any) -> list[tuple[str, bytes]]:
    """Each part's headers and content."""
    kind, body = sent(content, value, **more)
    boundary = re.fullmatch(r"multipart/form-data; boundary=([0-9a-f]{32})", kind)
    assert boundary is not None
    pieces = body.split(f"--{boundary[1]}".encode())
    assert (pieces[0], pieces[-1]) == (b"", b"--\r\n")
    found = []
    for piece in pieces[1:-1]:
        head, _, rest = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        found.append((head.decode(), rest.removesuffix(b"\r\n")))
    return found


def multipart(properties: dict[str, Any], **encoding: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return {"multipart/form-data": {"schema": schema, "encoding": encoding}}


def test_forms_with_parts() -> None:
    content = multipart(
        {"text": TEXT, "list": {"type": "array"}, "object": {"type": "object"}, "typed": TEXT},
        typed={"contentType": "text/csv"},
    )
    value = {"text": "a\r\nb", "list": [1, "x"], "object": {"a": 1}, "typed": "1,2", "none": None}
    name = 'Content-Disposition: form-data; name="{}"'.format
    assert parts(content, value) == [
        (name("text"), b"a\r\nb"),
        (name("list"), b"1"),
        (name("list"), b"x"),
        (name("object") + "\r\nContent-Type: application/json", b'{"a":1}'),
        (name("typed") + "\r\nContent-Type: text/csv", b"1,2"),
    ]


@pytest.mark.parametrize(
    ("version", "node"),
    [
        ("3.0.3", FILE),
        ("3.1.0", {"type": "string", "contentMediaType": "application/octet-stream"}),
        ("3.1.0", {"contentMediaType": "image/png"}),
        ("3.1.0", {"$ref": "#/components/schemas/Upload"}),
        ("3.1.0", {"allOf": [{"$ref": "#/components/schemas/Upload"}]}),
        ("3.1.0", {"anyOf": [FILE, {"type": "null"}]}),
        ("3.0.3", {"type": "array", "items": FILE}),
    ],
)
def test_files(version: str, node: Any) -> None:
    components = {"schemas": {"Upload": FILE}}
    content = multipart({"f": node}, f={"contentType": "image/png, image/gif"})
    file: Any = {"base64": "AP8=", "filename": 'a"\r\nb', "content_type": "text/x"}
    value = [file, "text"] if "items" in node else file
    found = parts(content, {"f": value}, version=version, components=components)
    name = 'Content-Disposition: form-data; name="f"; filename='
    assert found[0] == (f'{name}"a%22%0D%0Ab"\r\nContent-Type: text/x', b"\x00\xff")
    if "items" in node:
        assert found[1] == (f'{name}"f"\r\nContent-Type: image/png', b"text")


def test_the_schema_says_what_a_file_is() -> None:
    made = with_body(multipart({"f": FILE, "t": TEXT}))
    body = made.spec.input_schema["properties"]["body"]
    assert body["properties"] == {"f": {"$ref": "#/$defs/File"}, "t": TEXT}
    assert made.spec.input_schema["$defs"]["File"]["anyOf"][0] == TEXT
    # In JSON there are no files.
    made = with_body({"application/json": {"schema": {"properties": {"f": FILE}}}})
    assert made.spec.input_schema["properties"]["body"]["properties"]["f"] == FILE


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"base64": "?"}, "it is not base64"),
        ({"base64": "AAA"}, "it is not base64"),
        ({"text": "x", "content_type": "a\r\nb: c"}, "line breaks"),
        ({"text": "x", "content_type": "nothing"}, "no media type"),
    ],
)
def test_what_is_no_file(value: Any, said: str) -> None:
    made = with_body(multipart({"f": FILE}))
    with pytest.raises(ArgumentsError, match=said) as caught:
        request_of(made, {"body": {"f": value}})
    assert caught.value.fields[0][0] == "body.f"


def test_a_text_that_its_charset_can_not_hold() -> None:
    made = with_body({"text/plain; charset=latin-1": {}})
    with pytest.raises(ArgumentsError, match="can't be written in latin-1"):
        request_of(made, {"body": "€"})


def swagger(parameters: list[Any], consumes: list[str]) -> Any:
    node = {"parameters": parameters, "consumes": consumes, "responses": {}}
    document = {
        "swagger": "2.0",
        "host": "api.example.com",
        "basePath": "/v1",
        "paths": {"/op": {"post": node}},
        "definitions": {"A": {"type": "object"}},
        "parameters": {"Shared": {"name": "s", "in": "formData", "type": "string"}},
    }
    [made] = outcome_of(document).made
    return made


def test_bodies_of_swagger() -> None:
    made = swagger(
        [{"name": "any", "in": "body", "required": True, "schema": {"$ref": "#/definitions/A"}}],
        ["application/json"],
    )
    assert made.spec.input_schema["properties"] == {"body": {"$ref": "#/$defs/A"}}
    assert made.spec.input_schema["required"] == ["body"]
    assert request_of(made, {"body": {"a": 1}}).body == b'{"a":1}'


def test_forms_of_swagger() -> None:
    many = {"type": "array", "items": {"type": "string"}}
    fields = [
        {"name": "a", "in": "formData", "type": "string", "required": True, "description": "d"},
        {"name": "csv", "in": "formData", **many},
        {"name": "multi", "in": "formData", "collectionFormat": "multi", **many},
        {"$ref": "#/parameters/Shared"},
    ]
    value = {"a": "x", "csv": ["1", "2"], "multi": ["1", "2"], "s": "y"}
    made = swagger(fields, ["application/x-www-form-urlencoded"])
    assert request_of(made, {"body": value}).body == b"a=x&csv=1,2&multi=1&multi=2&s=y"
    body = made.spec.input_schema["properties"]["body"]
    assert (list(body["properties"]), body["required"]) == (["a", "csv", "multi", "s"], ["a"])
    assert body["properties"]["a"] == {"type": "string", "description": "d"}
    # With a file it has parts, whatever else it may be.
    fields.append({"name": "f", "in": "formData", "type": "file"})
    made = swagger(fields, ["application/x-www-form-urlencoded"])
    request = request_of(made, {"body": {**value, "f": "text"}})
    assert (header_of(request, "content-type") or "").startswith("multipart/form-data; ")
    assert request.body is not None
    assert b'name="csv"\r\n\r\n1,2\r\n' in request.body
    assert b'name="f"; filename="f"' in request.body
