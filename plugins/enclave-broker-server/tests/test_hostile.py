"""Whatever comes over a connection is answered as documented, and disturbs nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx
import pytest
from enclave_broker_server.settings import DoorLimits, ServerSettings

from enclave_broker_core import Broker
from enclave_broker_core.contracts import Credentials
from enclave_broker_core.models import Principal

pytestmark = pytest.mark.anyio

LIMITS = DoorLimits(body_timeout=0.3, header_timeout=0.3, max_body_bytes=100_000)
NOBODY = Principal.anonymous()
MIB = 1024 * 1024
JSON = "Content-Type: application/json\r\nAccept: application/json\r\n"


def post(
    body: bytes | str, *, path: str = "/sessions", headers: str = JSON, host: str = "localhost"
) -> bytes:
    data = body if isinstance(body, bytes) else body.encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
    return head.encode() + data


def get(path: str, *, headers: str = "", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


class Target:
    """A server, and what it says to bytes."""

    def __init__(self, broker: Broker, url: str, connect: Any) -> None:
        self.broker, self.url, self._connect = broker, url, connect

    def wire(self) -> Any:
        return self._connect(self.url)

    async def refusal(self, *pieces: bytes) -> tuple[int, str]:
        """The status and the code of the answer, which is an error as the protocol has them."""
        async with self.wire() as wire:
            await wire.send(*pieces)
            answer = await wire.answer()
        assert answer.headers["content-type"] == "application/json"
        said = json.loads(answer.body)
        assert {"code", "message"} <= said.keys() <= {"code", "message", "details"}
        assert "Traceback" not in said["message"]
        return answer.status, said["code"]

    async def works(self) -> bool:
        """Whether a session can be made, used and deleted, and nothing is left of others."""
        async with httpx.AsyncClient(base_url=self.url, timeout=20) as client:
            made = await client.post("/sessions", json={})
            one = f"/sessions/{made.json()['sessionId']}"
            called = await client.post(f"{one}/tool-calls", json={"name": "inc", "args": {"n": 1}})
            deleted = await client.delete(one)
        return (made.status_code, called.json()["data"], deleted.status_code) == (201, 2, 200)


@pytest.fixture
async def target(serving: Any, connect: Any) -> AsyncIterator[Target]:
    async with (
        Broker(tools={"inc": lambda n: n + 1}) as broker,
        serving(broker, settings=ServerSettings(limits=LIMITS)) as url,
    ):
        yield Target(broker, url, connect)
        # Whatever came before.
        assert await Target(broker, url, connect).works()
        assert broker.stats().open_sessions == 0


BAD_BODIES: dict[str, bytes | str] = {
    "nothing": "",
    "cut": '{"code": "1',
    "two": "{}{}",
    "not JSON": "code=1",
    "not UTF-8": b'{"code": "\xff\xfe"}',
    "UTF-16": '{"code": "1"}'.encode("utf-16"),
    "a list": "[]",
    "null": "null",
    "a text": '"code"',
    "NaN": '{"metadata": {"n": NaN}}',
    "infinite": '{"metadata": {"n": 1e999}}',
    "deep lists": '{"metadata": {"n": ' + "[" * 30_000 + "]" * 30_000 + "}}",
    "deep objects": '{"metadata": ' + '{"a":' * 1000 + "1" + "}" * 1000 + "}",
    "never closed": "[" * 90_000,
    "a half": '{"code": "\\ud800"}',
    "code": '{"code": 1}',
    "an id": '{"sessionId": {}}',
    "an id like a path": '{"sessionId": "s_/../x"}',
    "an id that is too long": json.dumps({"sessionId": "s_" + "a" * 65}),
    "a config": '{"config": []}',
    "a count": '{"config": {"maxToolCalls": "many"}}',
    "a count below": '{"config": {"maxToolCalls": -1}}',
    "a time": '{"config": {"maxExecutionMs": 1e300}}',
    "a long number": '{"config": {"maxExecutionMs": ' + "9" * 10_000 + "}}",
    "a key": '{"cod": "1"}',
    "tools": '{"allowedTools": "inc"}',
    "patterns": json.dumps({"allowedTools": ["*"] * 2000}),
    "metadata": '{"metadata": [1]}',
    "a runtime": '{"runtime": ["monty"]}',
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_body_that_is_wrong(target: Target, name: str) -> None:
    assert await target.refusal(post(BAD_BODIES[name])) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "json"])
async def test_a_body_that_is_not_sent_as_json(target: Target, kind: str) -> None:
    headers = f"Content-Type: {kind}\r\n" if kind else ""
    assert await target.refusal(post("{}", headers=headers)) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_a_gigabyte_that_is_announced(target: Target) -> None:
    head = f"POST /sessions HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: {1024 * MIB}\r\n"
    expected = (413, "PAYLOAD_TOO_LARGE")
    assert await target.refusal(head.encode() + b"\r\n") == expected
    assert await target.refusal(head.encode() + b"\r\n", *[b"a" * MIB] * 20) == expected
    waits = head.encode() + b"Expect: 100-continue\r\n\r\n"
    assert await target.refusal(waits) == expected


async def test_chunks_without_end(target: Target) -> None:
    head = f"POST /sessions HTTP/1.1\r\nHost: localhost\r\n{JSON}Transfer-Encoding: chunked\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    answer = await target.refusal(head.encode() + b"\r\n", *[chunk] * 200)
    assert answer == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("encoded", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_come(target: Target, encoded: str) -> None:
    head = f"POST /sessions HTTP/1.1\r\nHost: localhost\r\n{JSON}{encoded}\r\n\r\n"
    assert await target.refusal(head.encode(), b"1") == (408, "TIMEOUT")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"".join([get("/")[:-2], *(b"h%d: x\r\n" % n for n in range(10_000))]), 431),
        (b"GET /" + b"a" * 100_000, 414),
        (get("/health", method="BREW"), 400),
        (get("/sessions", method="PUT"), 405),
        (get("/sessions", method="TRACE"), 405),
        (get("/health", method="POST"), 405),
        (get("/nothing"), 404),
        (get("/sessions/../sessions"), 404),
        (get("/sessions/s_%00"), 404),
        (get("/sessions/s_%ff%fe"), 404),
        (get("/sessions/s_" + "a" * 5000), 404),
        (get("/sessions/s_unknown/stream"), 404),
        (get("//evil.example/sessions"), 404),
        (get("/sessions", headers="Origin: https://evil.example\r\n"), 403),
        (get("/sessions", headers="Origin: null\r\n"), 403),
        (get("/sessions", headers="Host: localhost\r\n"), 421),
        (b"GET /sessions HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /sessions HTTP/1.1\r\nHost: \r\n\r\n", 421),
        (b"GET /sessions HTTP/1.1\r\n\r\n", 421),
        (b"GET /sessions HTTP/1.0\r\n\r\n", 421),
        (post("{}", headers=JSON + "Origin: http://localhost.evil.example\r\n"), 403),
        (post("{}", host="127.0.0.1.evil.example"), 421),
        (get("/sessions/s_x/ws", headers="Upgrade: websocket\r\nConnection: Upgrade\r\n"), None),
    ],
)
async def test_a_request_that_is_wrong(
    target: Target, request_: bytes, expected: int | None
) -> None:
    if expected is None:
        async with target.wire() as wire:
            await wire.send(request_)
            assert 400 <= (await wire.answer()).status < 500
        return
    status, code = await target.refusal(request_)
    assert status == expected
    if status in (414, 431):
        assert code == "PAYLOAD_TOO_LARGE"


async def test_a_request_that_is_cut_at_any_byte(target: Target) -> None:
    whole = post('{"metadata": {"a": 1}}')
    for length in range(1, len(whole)):
        async with target.wire() as wire:
            await wire.send(whole[:length])
    for length in range(1, len(whole), 7):
        async with target.wire() as wire:
            await wire.send(whole[:length])
            await wire.end()
            # Who sends no more is gone, as far as anybody can tell: there may be no answer.
            assert b"201" not in await wire.rest()
    assert await target.broker.list_sessions() == []


async def test_a_request_in_pieces_of_one_byte(target: Target) -> None:
    async with target.wire() as wire:
        for byte in post('{"metadata": {"a": 1}}'):
            await wire.send(bytes([byte]))
        answer = await wire.answer()
        assert answer.status == 201
        await wire.send(get(f"/sessions/{json.loads(answer.body)['sessionId']}", method="DELETE"))
        assert (await wire.answer()).status == 200


async def test_requests_in_one_piece(target: Target) -> None:
    async with target.wire() as wire:
        first = post('{"sessionId": "s_one"}')
        call = post('{"name": "inc", "args": {"n": 4}}', path="/sessions/s_one/tool-calls")
        await wire.send(first + call + post("{") + get("/sessions/s_one", method="DELETE"))
        answers = [await wire.answer() for _ in range(4)]
    assert [answer.status for answer in answers] == [201, 200, 400, 200]
    assert json.loads(answers[1].body)["data"] == 5


class Names:
    """Takes everybody's word for who they are."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        name = credentials.headers.get("x-api-key")
        return None if name is None else Principal(id=name)


ACTS = [
    ("GET", ""),
    ("DELETE", ""),
    ("GET", "/stream"),
    ("POST", "/cancel"),
    ("POST", "/ticket"),
    ("GET", "/tool-calls"),
    ("POST", "/tool-calls"),
    ("POST", "/execute"),
    ("POST", "/tool-result"),
]
BODIES = {
    "/tool-calls": {"name": "inc", "args": {"n": 1}},
    "/execute": {"code": "1"},
    "/tool-result": {"callId": "c_1", "result": 1},
}


@pytest.mark.parametrize(("method", "act"), ACTS)
async def test_the_session_of_another_is_none(serving: Any, method: str, act: str) -> None:
    settings = ServerSettings(limits=LIMITS)
    async with (
        Broker(tools={"inc": lambda n: n + 1}) as broker,
        serving(broker, settings=settings, authenticators=[Names()]) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        ada, bob = {"x-api-key": "ada"}, {"x-api-key": "bob"}
        made = await client.post("/sessions", json={"sessionId": "s_adas"}, headers=ada)
        assert made.status_code == 201
        body = BODIES.get(act) if method == "POST" else None
        there = await client.request(method, f"/sessions/s_adas{act}", json=body, headers=bob)
        nowhere = await client.request(method, f"/sessions/s_none{act}", json=body, headers=bob)
        assert there.status_code == nowhere.status_code == 404
        assert there.json()["code"] == "NOT_FOUND"
        assert there.text.replace("s_adas", "s_none") == nowhere.text
        assert (await client.get("/sessions", headers=bob)).json()["total"] == 0
        assert (await client.get("/sessions/s_adas", headers=ada)).json()["state"] == "running"
        assert (await client.get("/sessions/s_adas")).status_code == 401


async def test_a_stream_whose_client_talks_on(target: Target) -> None:
    session = await target.broker.create_session(principal=NOBODY)
    async with target.wire() as wire, target.wire() as other:
        await wire.send(get(f"/sessions/{session.id}/stream"))
        await wire.until(b"session_init")
        await wire.send(b"\x00" * MIB)
        # It had the connection to itself, and nothing may be written into the midst of it.
        assert b"HTTP/1.1" not in await wire.rest()
        await other.send(get("/health"))
        assert (await other.answer()).status == 200
    await session.complete()


async def test_streams_whose_clients_are_gone_take_no_place(target: Target) -> None:
    most = ServerSettings().streams.max_per_session
    session = await target.broker.create_session(principal=NOBODY)
    stream = get(f"/sessions/{session.id}/stream")
    async with AsyncExitStack() as stack:
        for _ in range(most):
            wire = await stack.enter_async_context(target.wire())
            await wire.send(stream)
            await wire.until(b"session_init")
            # One that waits behind a stream must not keep that from ending.
            await wire.send(get("/health"))
        assert await target.refusal(stream) == (429, "RATE_LIMITED")
    # Sooner than a heartbeat would find out.
    with anyio.fail_after(10):
        while True:
            async with target.wire() as wire:
                await wire.send(stream)
                if (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"):
                    break
    await session.complete()
