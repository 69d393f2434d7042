"""What clients may send and must not: too much, too deep, too slow, broken, or out of order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from enclave_broker_mcp.serving.opening import open_mcp_routes
from enclave_broker_mcp.serving.settings import HttpConfig
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_served import ACCEPT, ADA, PATIENCE, add_tools, direct, initialize, listed, rpc, served

from enclave_broker_core import Broker
from enclave_broker_core.contracts import OpenContext


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


pytestmark = pytest.mark.anyio
JSON = {**ACCEPT, "content-type": "application/json"}
MODERN = {**JSON, "mcp-protocol-version": "2026-07-28"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def call_of(text: str, **more: Any) -> bytes:
    """A ``tools/call`` of ``say`` whose argument is JSON text."""
    params = json.dumps({"name": "say", "arguments": {"text": "@"}, **more})
    body = json.dumps(rpc("tools/call", {})).replace("{}", params)
    return body.replace('"@"', text).encode()


@pytest.mark.parametrize("headers", [JSON, MODERN])
async def test_a_body_that_is_too_large_is_not_read(headers: dict[str, str]) -> None:
    broker = Broker()
    async with broker, served(broker, max_body_bytes=1000) as server, server.http() as http:
        announced = await http.post("/mcp", content=b" " * 1001, headers=headers)
        unannounced = await _raw(server.url, _head("Transfer-Encoding: chunked") + _CHUNK)
    assert (announced.status_code, announced.headers["connection"]) == (413, "close")
    assert announced.json()["error"]["message"] == "the body is larger than 1000 bytes"
    assert unannounced.startswith(b"HTTP/1.1 413 ")
    assert broker.stats().open_sessions == 0


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    broker = Broker()
    async with broker, served(broker, body_timeout=0.2) as server:
        answer = await _raw(server.url, _head("Content-Length: 100") + b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not come in 0.2 s" in answer


@pytest.mark.parametrize("headers", [JSON, MODERN])
@pytest.mark.parametrize("depth", [90, 150, 5000, 100_000])
async def test_what_is_nested_too_deep_is_refused(headers: dict[str, str], depth: int) -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, served(broker) as server, server.http() as http:
        if headers is JSON:
            session_id = (await initialize(http)).headers["mcp-session-id"]
            await listed(http, session_id)
            headers = {**JSON, "mcp-session-id": session_id}
            body = call_of(nested(depth))
        else:
            headers = {**MODERN, "mcp-method": "tools/call", "mcp-name": "say"}
            body = call_of(nested(depth), _meta=META)
        answer = await http.post("/mcp", content=body, headers=headers)
        assert answer.status_code in (200, 400)
        assert '"isError":true' in answer.text or '"error":' in answer.text
        assert len(answer.content) < 2000
        again = await http.post(
            "/mcp", content=call_of('"fine"', _meta=META), headers={**MODERN, **NAMED}
        )
        assert "fine" in again.text


NAMED = {"mcp-method": "tools/call", "mcp-name": "say"}
BROKEN: Sequence[bytes] = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"1e999",
    b'"text"',
    b"\xff\xfe",
    b"{}",
    b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":{},"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1}',
    b'{"jsonrpc":"2.0","id":1,"method":5}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}',
    b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]',
    b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"ping"}',
)


@pytest.mark.parametrize("headers", [JSON, MODERN])
async def test_what_is_no_json_rpc_is_refused_and_opens_nothing(headers: dict[str, str]) -> None:
    broker = Broker()
    add_tools(broker)
    async with (
        broker,
        served(broker, max_sessions_per_principal=1) as server,
        server.http() as http,
    ):
        for body in BROKEN:
            answer = await http.post("/mcp", content=body, headers=headers)
            assert answer.status_code == 400, (body, answer.text)
            assert len(answer.content) < 3000
        assert (await initialize(http)).status_code == 200


@settings(max_examples=20, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=6))
async def test_any_json_as_arguments_is_answered(value: Any) -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, direct(broker) as client:
        answer = await client.call_tool("say", {"text": value})
    assert answer.is_error is not isinstance(value, str)


async def test_requests_before_the_session_has_begun_are_refused() -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, served(broker) as server, server.http() as http:
        nowhere = await http.post("/mcp", json=rpc("tools/list"), headers=ACCEPT)
        session_id = (await initialize(http)).headers["mcp-session-id"]
        headers = {**ACCEPT, "mcp-session-id": session_id}
        without = await http.get("/mcp", headers=ACCEPT)
        unknown = await http.put("/mcp", headers=headers)
        wrong = await http.post(
            "/mcp", content=b"{}", headers={**headers, "content-type": "text/plain"}
        )
        unaccepted = await http.post(
            "/mcp", json=rpc("tools/list"), headers={**headers, "accept": "text/html"}
        )
        version = await http.post(
            "/mcp",
            json=rpc("tools/list"),
            headers={**headers, "mcp-protocol-version": "1999-01-01"},
        )
    statuses = [one.status_code for one in (nowhere, without, unknown, wrong, unaccepted, version)]
    assert statuses == [400, 400, 405, 400, 406, 400]


async def test_of_two_session_headers_the_first_counts() -> None:
    broker = Broker()
    add_tools(broker)
    async with (
        broker,
        served(broker) as server,
        server.http("ada") as ada,
        server.http("bob") as bob,
    ):
        hers = (await initialize(ada)).headers["mcp-session-id"]
        his = (await initialize(bob)).headers["mcp-session-id"]
        await listed(bob, his)
        for order, said in (((hers, his), "Session not found"), ((his, hers), "users_get")):
            headers = [*JSON.items(), *(("mcp-session-id", one) for one in order)]
            answer = await bob.post("/mcp", json=rpc("tools/list"), headers=headers)
            assert said in answer.text
        [record] = await broker.list_sessions()
        assert record.principal_id == "bob"


async def test_a_version_header_that_is_sent_twice_leaves_no_session_behind() -> None:
    broker = Broker()
    add_tools(broker)
    async with (
        broker,
        served(broker, max_sessions_per_principal=1) as server,
        server.http() as http,
    ):
        versions = ("2026-07-28", "2025-11-25")
        for order in (versions, versions[::-1]):
            headers = [*JSON.items(), *(("mcp-protocol-version", one) for one in order)]
            for _ in range(3):
                await http.post("/mcp", json=rpc("tools/list"), headers=headers)
        assert (await initialize(http)).status_code == 200
    assert broker.stats().open_sessions == 0


async def test_a_flood_of_sessions_stops_at_the_bound() -> None:
    broker = Broker()
    async with (
        broker,
        served(broker, max_sessions_per_principal=5) as server,
        server.http() as http,
    ):
        statuses: list[int] = []

        async def open_one() -> None:
            statuses.append((await initialize(http)).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(open_one)
    assert sorted(set(statuses)) == [200, 429]
    assert statuses.count(200) == 5


async def test_calls_whose_clients_have_gone_count_until_they_end() -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with broker, served(broker, max_calls=3) as server, server.http() as http:
        session_id = (await initialize(http)).headers["mcp-session-id"]
        await listed(http, session_id)
        headers = {**ACCEPT, "mcp-session-id": session_id}
        for id in range(10, 13):
            with anyio.move_on_after(0.2):
                body = rpc("tools/call", {"name": "wait", "arguments": {}}, id)
                await http.post("/mcp", json=body, headers=headers)
        refused = await http.post(
            "/mcp", json=rpc("tools/call", {"name": "say"}, 20), headers=headers
        )
        assert "TOO_MANY_CALLS" in refused.text
        seen.let_go.set()

        async def works() -> bool:
            body = rpc("tools/call", {"name": "say", "arguments": {"text": "on"}}, 21)
            return '"on"' in (await http.post("/mcp", json=body, headers=headers)).text

        with anyio.fail_after(PATIENCE):
            while not await works():
                pass


async def test_who_takes_nothing_of_an_answer_is_cut_off() -> None:
    broker = Broker()
    add_tools(broker)
    body = call_of('"much"', _meta=META)
    fields = {**MODERN, **NAMED}
    config = HttpConfig(stall_timeout=0.1)
    async with broker, open_mcp_routes(config, OpenContext("mcp")) as routes:
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/mcp",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
            "enclave.broker": broker,
            "enclave.caller": SimpleNamespace(principal=ADA),
        }
        sent: list[Any] = []

        async def receive() -> Any:
            if not asked:
                asked.append(True)
                return {"type": "http.request", "body": body, "more_body": False}
            return await anyio.sleep_forever()

        async def send(message: Any) -> None:
            sent.append(message["type"])
            await anyio.sleep_forever()

        asked: list[bool] = []
        with anyio.fail_after(PATIENCE):
            await routes[0].endpoint(scope, receive, send)
        assert sent == ["http.response.start"]


async def _raw(url: str, sent: bytes) -> bytes:
    at = urlsplit(url)
    received = b""
    async with await anyio.connect_tcp(str(at.hostname), at.port or 80) as stream:
        await stream.send(sent)
        with anyio.fail_after(PATIENCE):
            while b"\r\n\r\n" not in received or not received.endswith(b"}"):
                received += await stream.receive()
    return received


def _head(about_the_body: str) -> bytes:
    return (
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: ada\r\n"
        f"Content-Type: application/json\r\n{about_the_body}\r\n\r\n"
    ).encode()


_CHUNK = b"7d0\r\n" + b" " * 2000 + b"\r\n"
