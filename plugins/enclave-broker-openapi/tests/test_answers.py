"""What becomes of an answer, by its status and its media type."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_network.messages import OutboundResponse
from enclave_broker_openapi.answers import result_of
from openapi_documents import header_of, one, request_of

from enclave_broker_core.errors import ToolError


def answer(kind: str | None, body: bytes, status: int = 200, **headers: str) -> OutboundResponse:
    pairs = [] if kind is None else [("content-type", kind)]
    pairs += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return OutboundResponse(status, tuple(pairs), body, "https://x.example.com/")


@pytest.mark.parametrize(
    ("kind", "body", "result"),
    [
        ("application/json", b'{"a": [1]}', {"a": [1]}),
        ("application/json", b"\xef\xbb\xbf[1]", [1]),
        ("application/problem+json; charset=utf-8", b"1", 1),
        ("text/plain; charset=latin-1", b"\xe9", "é"),
        ("text/html", b"<p>", "<p>"),
        ("application/xml", b"<a/>", "<a/>"),
        ("application/x-ndjson", b'{"a":1}\r\n\n2\n', [{"a": 1}, 2]),
        ("application/json-seq", b"\x1e1\n\x1e2\n", [1, 2]),
        ("image/png", b"\x00\xff", {"base64": "AP8=", "content_type": "image/png"}),
        (None, b'{"a": 1}', {"a": 1}),
        (None, b"text", "text"),
        ("application/json", b"", None),
    ],
)
def test_results(kind: str | None, body: bytes, result: Any) -> None:
    assert result_of("GET", answer(kind, body)) == result


def test_a_head_answers_with_its_headers() -> None:
    found = result_of("HEAD", answer("text/plain", b"", x_total="7"))
    assert found == {"content-type": "text/plain", "x-total": "7"}


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_what_is_not_json_is_told(kind: str) -> None:
    with pytest.raises(ToolError, match="is not JSON"):
        result_of("GET", answer(kind, b"{"))


@pytest.mark.parametrize("status", [302, 304, 400, 404, 500, 599])
def test_what_is_no_success_is_an_error(status: int) -> None:
    with pytest.raises(ToolError, match=f"with status {status}: no") as caught:
        result_of("GET", answer("text/plain", b"no", status))
    assert not caught.value.retryable


def test_an_error_says_what_may_be_said() -> None:
    with pytest.raises(ToolError) as caught:
        content = b"word " * 390 + b"token" * 1000
        result_of("GET", answer("application/json", content, 503, retry_after="7"))
    assert caught.value.message.endswith("word …")
    assert 1900 < len(caught.value.message) < 2100
    assert (caught.value.retry_after, caught.value.retryable) == (7.0, True)
    with pytest.raises(ToolError, match=r"status 500$"):
        result_of("GET", answer("image/png", b"\x00" * 100, 500))


@pytest.mark.parametrize(
    ("responses", "accept"),
    [
        ({"200": {"content": {"text/csv": {}, "application/json": {}}}}, "application/json"),
        (
            {"200": {"content": {"text/csv": {}}}, "201": {"content": {"image/png": {}}}},
            "text/csv, image/png",
        ),
        ({"404": {"content": {"application/json": {}}}}, "*/*"),
        ({"200": {"$ref": "#/gone"}}, "*/*"),
        ({"200": {"content": {"a\r\nb: c/d": {}}}}, "*/*"),
        ({}, "*/*"),
    ],
)
def test_what_is_asked_for(responses: Any, accept: str) -> None:
    made = one({"responses": responses})
    assert header_of(request_of(made, {}), "accept") == accept
