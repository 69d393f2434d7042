"""What goes on the wire is what was asked for, and what comes back is what was answered."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from enclave_broker_network.errors import RefusedError
from enclave_broker_network.messages import OutboundRequest
from raw_http import Received, answer, raw_server
from reaching import reaching

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a/b?c=d",
        "//a//",
        "/%7Ea/%2F/%C3%A9?%20+&=[x]",
        "/a;b=c/d,e/(f)/!$&'*@:",
        "/...?/../",
        "/?",
        "/.well-known/x..y",
    ],
)
async def test_the_target_is_sent_as_it_is(target: str) -> None:
    async with raw_server(answer()) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest("GET", server.url + target))
    assert [one.target for one in server.got] == [target]
    assert response.url == server.url + target


async def test_a_request_has_its_headers_and_those_of_the_connection() -> None:
    request_headers = (("X-One", "1"), ("x-two", "a, b"), ("X-One", "2"), ("Accept", "text/x"))
    async with raw_server(answer()) as server, reaching(server) as outbound:
        await outbound.send(OutboundRequest("POST", f"{server.url}/", request_headers, b"\0body"))
    (got,) = server.got
    assert got.headers == [
        ("Host", f"127.0.0.1:{server.port}"),
        ("Accept-Encoding", got.header("accept-encoding")),
        ("X-One", "1"),
        ("x-two", "a, b"),
        ("X-One", "2"),
        ("Accept", "text/x"),
        ("User-Agent", "enclave-broker"),
        ("Content-Length", "5"),
    ]
    assert got.body == b"\0body"


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", None, None),
        ("DELETE", None, None),
        ("HEAD", None, None),
        ("POST", None, "0"),
        ("PUT", None, "0"),
        ("GET", b"", "0"),
        ("DELETE", b"x", "1"),
        ("QUERY", b"xy", "2"),
    ],
)
async def test_a_length_is_sent_where_one_is_expected(
    method: str, body: bytes | None, length: str | None
) -> None:
    async with raw_server(answer()) as server, reaching(server) as outbound:
        await outbound.send(OutboundRequest(method, server.url, body=body))
    assert [one.header("content-length") for one in server.got] == [length]
    assert [one.method for one in server.got] == [method]


async def test_a_large_body_arrives_whole() -> None:
    body = bytes(range(256)) * 4000
    async with raw_server(answer()) as server, reaching(server) as outbound:
        await outbound.send(OutboundRequest("PUT", server.url, body=body))
    assert server.got[0].body == body


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "hunter22\r\nX-Evil: 1"),
        ("X-A", "b\nc"),
        ("X-A", "b\0"),
        ("X-A", " hunter22"),
        ("X-A", "é"),
        ("X-A\r\nX-Evil", "1"),
        ("X A", "1"),
        ("", "1"),
        ("X-A:", "1"),
        ("Host", "b.example"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
        ("Connection", "upgrade"),
        ("Accept-Encoding", "x"),
        ("Proxy-Authorization", "x"),
    ],
)
async def test_a_header_can_be_nothing_more(name: str, value: str) -> None:
    async with raw_server(answer()) as server, reaching(server) as outbound:
        with pytest.raises(RefusedError) as caught:
            await outbound.send(OutboundRequest("GET", server.url, ((name, value),)))
    assert server.got == []
    assert "hunter22" not in caught.value.message


@pytest.mark.parametrize("method", ["", "get", "GET /x", "GET\r\n", "CONNECT", "A" * 40])
async def test_a_method_can_be_nothing_more(method: str) -> None:
    async with raw_server(answer()) as server, reaching(server) as outbound:
        with pytest.raises(RefusedError):
            await outbound.send(OutboundRequest(method, server.url))
    assert server.got == []


@pytest.mark.parametrize("status", [200, 201, 204, 304, 400, 404, 418, 500, 503])
async def test_any_status_is_an_answer(status: int) -> None:
    body = b"" if status in (204, 304) else b"why"
    said = answer(status, [("Content-Type", "Text/Plain; charset=utf-8"), ("X-A", "1")], body)
    async with raw_server(said) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest("GET", server.url))
    assert (response.status, response.body) == (status, body)
    assert (response.media_type, response.header("X-a")) == ("text/plain", "1")
    assert response.header("x-b") is None


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async def handle(received: Received, stream: ByteStream) -> None:
        await stream.send(answer(body=b"all of it", sized=False))

    async with raw_server(handle) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest("GET", server.url))
    assert response.body == b"all of it"


async def test_interim_answers_are_passed_over() -> None:
    said = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(body=b"final")
    async with raw_server(said) as server, reaching(server) as outbound:
        assert (await outbound.send(OutboundRequest("GET", server.url))).body == b"final"


async def test_a_connection_is_used_again() -> None:
    async with raw_server(answer(body=b"x")) as server, reaching(server) as outbound:
        for _ in range(3):
            await outbound.send(OutboundRequest("GET", server.url))
    assert (server.connections, len(server.got)) == (1, 3)


async def test_a_host_gets_no_more_connections_than_it_may() -> None:
    most = 0

    async def handle(received: Received, stream: ByteStream) -> None:
        nonlocal most
        most = max(most, server.open)
        await anyio.wait_all_tasks_blocked()
        await stream.send(answer())

    async with (
        raw_server(handle) as server,
        reaching(server, max_connections_per_host=2) as outbound,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(6):
            tasks.start_soon(outbound.send, OutboundRequest("GET", server.url))
    assert (most, len(server.got)) == (2, 6)


async def test_progress_is_told() -> None:
    told: list[tuple[Any, ...]] = []

    async def progress(*what: Any) -> None:
        told.append(what)

    async with raw_server(answer(body=b"12345")) as server, reaching(server) as outbound:
        await outbound.send(OutboundRequest("GET", server.url), on_progress=progress)
    assert told == [("connecting", None, None), ("sending", None, None), ("receiving", 5, 5)]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(answer(body=b"proxy")) as proxy, raw_server(answer(body=b"x")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with reaching(server) as outbound:
            assert (await outbound.send(OutboundRequest("GET", server.url))).body == b"x"
    assert proxy.connections == 0


async def test_headers_can_be_added_to_each_request() -> None:
    def handle(received: Received) -> bytes:
        last = received.target == "/b"
        return answer(200 if last else 302, [] if last else [("Location", "/b")])

    seen: list[str] = []

    def more(request: OutboundRequest) -> tuple[tuple[str, str], ...]:
        seen.append(request.url)
        return (("traceparent", f"00-{len(seen)}"),)

    async with raw_server(handle) as server, reaching(server, more_headers=more) as outbound:
        await outbound.send(OutboundRequest("GET", f"{server.url}/a"))
    assert seen == [f"{server.url}/a", f"{server.url}/b"]
    assert [one.header("traceparent") for one in server.got] == ["00-1", "00-2"]


def test_a_request_does_not_show_what_it_holds() -> None:
    request = OutboundRequest("GET", "https://a.example/?key=k", (("Cookie", "c"),), b"body")
    assert repr(request) == "OutboundRequest(method='GET', idempotent=None)"
