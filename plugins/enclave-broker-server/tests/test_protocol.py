"""What comes before a request is whole is bounded; uvicorn's own parts are pinned by this."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from enclave_broker_server.settings import DoorLimits, ServerSettings
from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class App:
    """Reads its body and says what it was asked for; ``/held`` waits until it is let go.

    ``/stream`` writes until the client has gone, ``/unread`` answers before it has read.
    """

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.held = anyio.Event()
        self.let_go = anyio.Event()
        self.gone = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        path = scope["path"]
        body = b""
        if path == "/stream":
            await self._stream(receive, send)
            return
        if path == "/held":
            self.held.set()
            await self.let_go.wait()
        if path != "/unread":
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.gone.set()
                    return
                body += message["body"]
                if not message["more_body"]:
                    break
        said = json.dumps([scope["method"], path, len(body)]).encode()
        size = str(len(said)).encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", size)]}
        )
        await send({"type": "http.response.body", "body": said})

    async def _stream(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.set()


class Place:
    """An application behind the bounded protocol, and connections to it."""

    def __init__(self, app: App, url: str, connect: Any) -> None:
        self.app, self.url, self._connect = app, url, connect

    def wire(self) -> Any:
        return self._connect(self.url)

    async def refused(self, *pieces: bytes) -> tuple[int, str, str]:
        """Status, code and message of the answer, after which the connection is closed."""
        async with self.wire() as wire:
            await wire.send(*pieces)
            answer = await wire.answer()
            assert await wire.rest() == b""
        assert answer.headers["connection"] == "close"
        assert answer.headers["content-type"] == "application/json"
        said = json.loads(answer.body)
        assert said.keys() == {"code", "message"}
        return answer.status, said["code"], said["message"]

    async def works(self) -> bool:
        async with self.wire() as wire:
            await wire.send(GET, b"\r\n")
            answer = await wire.answer()
        return bool(answer.status == 200)


@pytest.fixture
def place(serving_app: Any, connect: Any) -> Any:
    @asynccontextmanager
    async def open_place(**limits: Any) -> AsyncIterator[Place]:
        app = App()
        settings = ServerSettings(limits=DoorLimits(**limits))
        async with serving_app(app, settings) as url:
            yield Place(app, url, connect)

    return open_place


async def test_many_headers_are_refused_before_all_have_come(place: Any) -> None:
    async with place(max_headers=10) as at:
        many = b"".join(b"h%d: x\r\n" % n for n in range(10_000))
        # The head never ends: nothing of this waits for that.
        assert await at.refused(GET, many) == (431, "PAYLOAD_TOO_LARGE", "more than 10 headers")
        assert at.app.scopes == []
        async with at.wire() as wire:
            await wire.send(GET, b"".join(b"h%d: x\r\n" % n for n in range(9)), b"\r\n")
            assert (await wire.answer()).status == 200
        assert len(at.app.scopes[0]["headers"]) == 10


@pytest.mark.parametrize("piece", [b"a" * 1000, b"a: b\r\n" * 100, b"name" * 500 + b": "])
async def test_headers_are_bounded_in_bytes(place: Any, piece: bytes) -> None:
    expected = (431, "PAYLOAD_TOO_LARGE", "headers of more than 5000 bytes")
    async with place(max_header_bytes=5000, max_headers=10**6) as at:
        assert await at.refused(GET, b"x: ", *[piece] * 300) == expected
        assert await at.refused(GET, piece * 300) == expected
        assert await at.works()
        assert len(at.app.scopes) == 1


async def test_what_is_under_the_bound_is_let_through(place: Any) -> None:
    async with place(max_header_bytes=5000) as at, at.wire() as wire:
        await wire.send(GET, b"x: " + b"a" * 4900 + b"\r\n\r\n")
        assert (await wire.answer()).status == 200


async def test_a_url_is_bounded(place: Any) -> None:
    async with place(max_header_bytes=5000) as at:
        status, code, message = await at.refused(b"GET /" + b"a" * 6000)
        assert (status, code) == (414, "PAYLOAD_TOO_LARGE")
        assert message == "a URL of more than 5000 bytes"
        assert (await at.refused(b"GET /", *[b"a" * 1000] * 20))[0] in (414, 431)
        async with at.wire() as wire:
            await wire.send(b"GET /" + b"a" * 4000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert json.loads((await wire.answer()).body)[1] == "/" + "a" * 4000


@pytest.mark.parametrize("head", [b"", b"G", b"GET / HTTP/1.1\r\n", GET + b"a: b"])
async def test_a_slow_head_ends_the_connection(place: Any, head: bytes) -> None:
    async with place(header_timeout=0.2) as at, at.wire() as wire:
        await wire.send(head)
        if head:
            answer = await wire.answer()
            assert answer.status == 408
            assert json.loads(answer.body)["message"] == "the headers did not come in 0.2 s"
        assert await wire.rest() == b""
        assert await at.works()


async def test_dribbling_does_not_buy_time(place: Any) -> None:
    async with place(header_timeout=0.3) as at, at.wire() as wire, anyio.create_task_group() as bg:

        async def dribble() -> None:
            await wire.send(b"GET / HTTP/1.1\r\n")
            while True:
                await wire.send(b"a: b\r\n")
                await anyio.sleep(0.02)

        bg.start_soon(dribble)
        assert (await wire.answer()).status == 408
        bg.cancel_scope.cancel()


@pytest.mark.parametrize("first", [b"", GET + b"\r\n"])
async def test_empty_lines_do_not_keep_a_connection(place: Any, first: bytes) -> None:
    async with (
        place(header_timeout=0.3, idle_timeout=0.3) as at,
        at.wire() as wire,
        anyio.create_task_group() as bg,
    ):

        async def dribble() -> None:
            await wire.send(first)
            while True:
                await wire.send(b"\r\n")
                await anyio.sleep(0.02)

        bg.start_soon(dribble)
        if first:
            assert (await wire.answer()).status == 200
        assert await wire.rest() == b""
        bg.cancel_scope.cancel()


async def test_an_idle_connection_is_closed(place: Any) -> None:
    async with place(idle_timeout=0.2, header_timeout=60) as at, at.wire() as wire:
        await wire.send(GET, b"\r\n")
        assert (await wire.answer()).status == 200
        assert await wire.rest() == b""


async def test_there_are_only_so_many_connections(place: Any) -> None:
    async with place(max_connections=2) as at, at.wire() as one, at.wire() as two:
        for wire in (one, two):
            await wire.send(GET, b"\r\n")
            assert (await wire.answer()).status == 200
        status, code, _ = await at.refused(GET, b"\r\n")
        assert (status, code) == (503, "SERVICE_UNAVAILABLE")
        await one.send(GET, b"\r\n")
        assert (await one.answer()).status == 200


@pytest.mark.parametrize(
    "bad",
    [
        b"BREW /pot HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\na: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"ffffffffffffffffffff\r\n",
    ],
)
async def test_what_is_not_http_is_refused(place: Any, bad: bytes) -> None:
    async with place() as at:
        assert (await at.refused(bad))[:2] == (400, "INVALID_REQUEST")
        assert await at.works()


async def test_fields_after_a_body_are_dropped(place: Any) -> None:
    async with place() as at, at.wire() as wire:
        await wire.send(CHUNKED, b"1\r\na\r\n0\r\nauthorization: Bearer of-somebody\r\n\r\n")
        assert json.loads((await wire.answer()).body) == ["POST", "/", 1]
        assert [name for name, _ in at.app.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("kind", [b"1;extension=", b"0\r\ntrailer: "])
async def test_what_comes_between_chunks_is_bounded(place: Any, kind: bytes) -> None:
    async with place(max_header_bytes=5000) as at:
        status, code, _ = await at.refused(CHUNKED, kind, *[b"a" * 1000] * 300)
        assert (status, code) == (431, "PAYLOAD_TOO_LARGE")
        with anyio.fail_after(10):
            await at.app.gone.wait()


async def test_requests_on_one_connection_are_answered_in_turn(place: Any) -> None:
    async with place() as at, at.wire() as wire:
        await wire.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(10)))
        answers = [json.loads((await wire.answer()).body)[1] for _ in range(10)]
        assert answers == [f"/{n}" for n in range(10)]


async def test_requests_do_not_pile_up_behind_a_long_answer(place: Any) -> None:
    async with place() as at, at.wire() as wire:
        await wire.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n", (GET + b"\r\n") * 1000)
        assert await wire.rest() == b""
        assert [scope["path"] for scope in at.app.scopes] == ["/held"]
        at.app.let_go.set()
        assert await at.works()


async def test_a_stream_ends_when_its_client_goes_though_more_was_asked(place: Any) -> None:
    async with place() as at:
        async with at.wire() as wire:
            await wire.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            await wire.send(GET, b"\r\n")
            with anyio.fail_after(10):
                while not at.app.scopes:
                    await anyio.lowlevel.checkpoint()
        with anyio.fail_after(10):
            await at.app.gone.wait()


async def test_garbage_behind_an_answer_under_way_is_not_answered(place: Any) -> None:
    async with place() as at, at.wire() as wire:
        await wire.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        with anyio.fail_after(10):
            await at.app.held.wait()
        await wire.send(b"BREW / HTTP/1.1\r\n\r\n")
        assert await wire.rest() == b""
        at.app.let_go.set()


async def test_an_answer_is_seen_though_the_body_is_still_coming(place: Any) -> None:
    async with place(header_timeout=0.3) as at, at.wire() as wire:
        await wire.send(b"POST /unread HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
        await wire.send(b"Content-Length: 100000000\r\n\r\n", *[b"a" * 100_000] * 20)
        assert json.loads((await wire.answer()).body) == ["POST", "/unread", 0]
        assert await wire.rest() == b""


async def test_a_body_that_nobody_reads_does_not_keep_the_connection(place: Any) -> None:
    async with place(header_timeout=0.3, idle_timeout=0.3) as at, at.wire() as wire:
        await wire.send(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert (await wire.answer()).status == 200
        async with anyio.create_task_group() as bg:

            async def dribble() -> None:
                while True:
                    await wire.send(b"a")
                    await anyio.sleep(0.02)

            bg.start_soon(dribble)
            assert await wire.rest() == b""
            bg.cancel_scope.cancel()


async def test_http_1_0_is_answered_and_closed(place: Any) -> None:
    async with place() as at, at.wire() as wire:
        await wire.send(b"GET /old HTTP/1.0\r\n\r\n")
        answer = await wire.answer()
        assert json.loads(answer.body) == ["GET", "/old", 0]
        assert answer.headers["connection"] == "close"
        assert await wire.rest() == b""
