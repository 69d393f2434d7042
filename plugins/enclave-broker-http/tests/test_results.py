"""What of an answer is the result, and what is an error."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from http_source import calling
from raw_http import Received, answer, raw_server

from enclave_broker_core import BrokerError, ToolError

pytestmark = pytest.mark.anyio

JSON = [("Content-Type", "application/json; charset=utf-8"), ("X-Total", "3")]
BODY = b'{"data": {"items": [{"id": 1}, {"id": 2}], "a/b": {"m~n": true}, "": 0}}'


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("body/data/items/1/id", 2),
        ("body/data/items", [{"id": 1}, {"id": 2}]),
        ("body/data/a~1b/m~0n", True),
        ("body/data/", 0),
        ("header:x-total", "3"),
        ("header:X-Missing", None),
        ("status", 200),
        (
            {"first": "body/data/items/0", "n": "header:X-Total", "s": "status"},
            {"first": {"id": 1}, "n": "3", "s": 200},
        ),
    ],
)
async def test_results_are_taken_out_of_the_answer(result: Any, expected: Any) -> None:
    async with (
        raw_server(answer(200, JSON, BODY)) as server,
        calling(server, {"result": result}) as session,
    ):
        assert await session.call("t") == expected


@pytest.mark.parametrize(
    "pointer",
    [
        "nothing",
        "data/items/2",
        "data/items/-",
        "data/items/01",
        "data/items/x",
        "data/items/0/id/y",
        "data/items/99999999999",
    ],
)
async def test_a_pointer_to_nothing_is_an_error(pointer: str) -> None:
    async with (
        raw_server(answer(200, JSON, BODY)) as server,
        calling(server, {"result": f"body/{pointer}"}) as session,
    ):
        with pytest.raises(ToolError, match=f"nothing at /{pointer}"):
            await session.call("t")


@pytest.mark.parametrize(
    ("content_type", "body", "read", "expected"),
    [
        ("application/json", b"[1]", "auto", [1]),
        ("application/problem+json", b"[1]", "auto", [1]),
        ("text/html", b"<p>", "auto", "<p>"),
        ("text/plain; charset=latin-1", b"\xe4", "auto", "ä"),
        ("image/svg+xml", b"<svg/>", "auto", "<svg/>"),
        ("application/xml", b"<a/>", "auto", "<a/>"),
        ("image/png", b"\x89PNG", "auto", {"content_type": "image/png", "base64": "iVBORw=="}),
        (None, b"\xff", "auto", {"content_type": "", "base64": "/w=="}),
        ("text/plain", b"[1]", "json", [1]),
        ("application/json", b"[1]", "text", "[1]"),
        (
            "application/json",
            b"[1]",
            "bytes",
            {"content_type": "application/json", "base64": "WzFd"},
        ),
        ("application/json", b"", "auto", None),
        ("application/json", b"", "json", None),
        ("image/png", b"", "bytes", None),
        ("text/plain", b"", "text", ""),
    ],
)
async def test_bodies_are_read_as_what_they_are(
    content_type: str | None, body: bytes, read: str, expected: Any
) -> None:
    headers = [] if content_type is None else [("Content-Type", content_type)]
    async with (
        raw_server(answer(200, headers, body)) as server,
        calling(server, {"read": read}) as session,
    ):
        assert await session.call("t") == expected


@pytest.mark.parametrize(
    ("content_type", "body", "request_"),
    [
        ("application/json", b"{", {}),
        ("application/json", b"<html>", {}),
        ("application/json", b'{"a": 1e999}', {}),
        ("application/json", b"\xff", {}),
        ("application/json", b"[" * 100_000, {}),
        ("text/html", b"<html>", {"read": "json"}),
        ("text/html", b"<html>", {"result": "body/a"}),
    ],
)
async def test_what_is_not_the_json_that_it_should_be_is_an_error(
    content_type: str, body: bytes, request_: dict[str, Any]
) -> None:
    said = answer(200, [("Content-Type", content_type)], body)
    async with raw_server(said) as server, calling(server, request_) as session:
        with pytest.raises(ToolError, match="that is not JSON") as caught:
            await session.call("t")
    assert caught.value.code == "TOOL_ERROR"


@pytest.mark.parametrize("status", [301, 304, 400, 401, 404, 409, 429, 500, 503])
async def test_statuses_are_errors(status: int) -> None:
    body = b"" if status == 304 else b"it is\r\n gone"
    said = answer(status, [("Content-Type", "text/plain")], body)
    async with raw_server(said) as server, calling(server, {}) as session:
        with pytest.raises(ToolError) as caught:
            await session.call("t")
    why = "" if status == 304 else ": it is gone"
    assert caught.value.message == f"the service answered with status {status}{why}"


@pytest.mark.parametrize("status", [404, 409, 503])
async def test_a_status_may_be_allowed(status: int) -> None:
    said = answer(status, JSON, b'{"why": "gone"}')
    request = {"allow_status": [404, 409, 503], "result": {"status": "status", "why": "body/why"}}
    async with raw_server(said) as server, calling(server, request) as session:
        assert await session.call("t") == {"status": status, "why": "gone"}


@pytest.mark.parametrize(("status", "asked"), [(429, "7"), (503, "7"), (500, "7")])
async def test_an_error_says_when_to_come_back(status: int, asked: str) -> None:
    async with (
        raw_server(answer(status, [("Retry-After", asked)])) as server,
        calling(server, {}) as session,
    ):
        with pytest.raises(ToolError) as caught:
            await session.call("t")
    assert caught.value.retry_after == 7.0
    assert {"type": "retry_info", "retryDelayMs": 7000} in caught.value.to_wire()["details"]
    assert caught.value.retryable is (status != 500)


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        ("application/json", b'{"error": "x"}', ': {"error": "x"}'),
        ("image/png", b"\x89PNG", ""),
        ("text/plain", b"word " * 1000, ": " + "word " * 100 + "…"),
        ("text/plain", b"x" * 1000, ": …"),
    ],
)
async def test_an_error_shows_how_the_answer_begins(
    content_type: str, body: bytes, said: str
) -> None:
    async with (
        raw_server(answer(400, [("Content-Type", content_type)], body)) as server,
        calling(server, {}) as session,
    ):
        with pytest.raises(ToolError) as caught:
            await session.call("t")
    assert caught.value.message == f"the service answered with status 400{said}"


async def test_what_the_service_echoes_of_a_secret_is_blotted_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", "hunter22-hunter22")

    def echo(received: Received) -> bytes:
        text = f"{received.target} {received.headers}".encode()
        status = 400 if received.target.startswith("/bad") else 200
        return answer(status, [("Content-Type", "text/plain")], text)

    auth = {"type": "basic", "username": "ada", "password": "{secret:TOKEN}"}
    query = {"key": "{secret:TOKEN}"}
    requests = ({"name": "bad", "url": "/bad"}, {"name": "good", "url": "/good"})
    async with (
        raw_server(echo) as server,
        calling(server, *requests, auth=auth, query=query) as session,
    ):
        with pytest.raises(ToolError) as caught:
            await session.call("bad")
        shown = await session.call("good")
    assert "Basic YWRhOmh1bnRlcjIyLWh1bnRlcjIy" in f"{server.got}"
    assert "YWRhOmh1bnRlcjIyLWh1bnRlcjIy" not in shown
    for text in (f"{caught.value.to_wire()}", shown):
        assert "hunter22" not in text
        assert "[secret]" in text
    assert "YWRhOmh1bnRlcjIyLWh1bnRlcjIy" not in f"{caught.value.to_wire()}"


async def test_a_secret_too_short_to_be_one_does_not_garble_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A", "")
    monkeypatch.setenv("B", "e")
    request = {"query": {"a": "{secret:A}", "b": "{secret:B}"}}
    said = answer(400, [("Content-Type", "text/plain")], b"never heard of it")
    async with raw_server(said) as server, calling(server, request) as session:
        with pytest.raises(ToolError, match="status 400: never heard of it"):
            await session.call("t")


async def test_what_is_too_large_is_an_error() -> None:
    bomb = answer(200, [("Content-Encoding", "gzip")], gzip.compress(bytes(1_000_000)))
    async with (
        raw_server(bomb) as server,
        calling(server, {}, network={"max_bytes": 100_000}) as session,
    ):
        with pytest.raises(BrokerError, match="larger than 100000 bytes") as caught:
            await session.call("t")
    assert caught.value.code == "RESULT_TOO_LARGE"


async def test_a_redirect_to_a_private_address_is_refused() -> None:
    async with (
        raw_server(answer(302, [("Location", "http://169.254.169.254/")])) as server,
        calling(server, {}, network={"hosts": ["*"]}) as session,
    ):
        with pytest.raises(ToolError, match=r"169\.254\.169\.254 is refused"):
            await session.call("t")


async def test_an_agent_hears_nothing_of_an_address_that_is_not_allowed() -> None:
    async with (
        raw_server(answer()) as server,
        calling(server, {}, network={"allow_private": []}) as session,
    ):
        with pytest.raises(ToolError, match="refused: it has a loopback address"):
            await session.call("t")
    assert server.connections == 0
