"""Services that do not answer: time-outs and broken connections at each phase."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from enclave_broker_network.errors import (
    BrokenAnswerError,
    OutboundError,
    OutboundTimeoutError,
    UnreachableError,
)
from enclave_broker_network.messages import OutboundRequest
from raw_http import Received, answer, raw_server, silence
from reaching import reaching

from enclave_broker_core.testing.checks import nothing_left_running

pytestmark = pytest.mark.anyio

# Long enough for what is to succeed, and the only wait in these tests.
SOON = 0.15


def get(url: str) -> OutboundRequest:
    return OutboundRequest("GET", f"{url}/?key=hunter22", (("Authorization", "hunter22"),))


async def never(host: str, port: int) -> Sequence[str]:
    await anyio.sleep_forever()
    raise AssertionError


async def test_looking_a_name_up_has_its_time() -> None:
    async with reaching(resolver=never, hosts=["*"], timeouts={"connect": SOON}) as outbound:
        with pytest.raises(OutboundTimeoutError, match="connecting took too long"):
            await outbound.send(get("http://a.example"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which lets a full queue wait")
async def test_connecting_has_its_time() -> None:
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # What is not accepted fills the queue; then the system answers no more.
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        port = deaf.getsockname()[1]
        rules = {"hosts": ["*"], "ports": [port], "timeouts": {"connect": SOON}}
        async with reaching(**rules) as outbound:
            with pytest.raises(OutboundTimeoutError, match="connecting took too long"):
                await outbound.send(get(f"http://127.0.0.1:{port}"))


async def test_tls_has_its_time() -> None:
    async with raw_server(silence) as server:
        rules = {"hosts": ["*"], "ports": [server.port], "timeouts": {"connect": SOON}}
        async with reaching(**rules) as outbound, nothing_left_running():
            with pytest.raises(OutboundTimeoutError, match="connecting took too long"):
                await outbound.send(get(f"https://127.0.0.1:{server.port}"))


async def test_sending_has_its_time() -> None:
    stay = anyio.Event()

    async def take(stream: ByteStream) -> None:
        async with stream:
            await stay.wait()  # and reads nothing

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, take)
        rules = {"hosts": ["*"], "ports": [int(url.rpartition(":")[2])]}
        async with reaching(**rules, timeouts={"write": SOON, "read": SOON}) as outbound:
            with pytest.raises(OutboundTimeoutError, match="took too long"):
                await outbound.send(OutboundRequest("PUT", url, body=bytes(30_000_000)))
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "begun",
    [b"", b"HTTP/1.1 200 OK\r\nX-A", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"],
)
async def test_answering_has_its_time(begun: bytes) -> None:
    async def handle(received: Received, stream: ByteStream) -> None:
        await stream.send(begun)
        await stream.receive()

    async with (
        raw_server(handle) as server,
        reaching(server, timeouts={"read": SOON}) as outbound,
    ):
        with pytest.raises(OutboundTimeoutError, match="took too long to answer") as caught:
            await outbound.send(get(server.url))
    assert "hunter22" not in f"{caught.value.to_wire()}"
    assert (caught.value.code, caught.value.retryable) == ("TOOL_TIMEOUT", True)


@pytest.mark.parametrize("in_body", [False, True])
async def test_a_drip_ends_with_the_whole_time(in_body: bool) -> None:
    drop = b"x" if in_body else b"HTTP/1.1 100 Continue\r\n\r\n"

    async def handle(received: Received, stream: ByteStream) -> None:
        if in_body:
            await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send(drop)
            await anyio.sleep(SOON / 20)

    async with (
        raw_server(handle) as server,
        reaching(server, timeouts={"read": 60, "total": SOON}) as outbound,
    ):
        with pytest.raises(OutboundTimeoutError, match=f"did not answer within {SOON:g} s"):
            await outbound.send(get(server.url))


async def test_waiting_for_a_connection_has_its_time() -> None:
    async with raw_server(silence) as server:
        rules = {"max_connections_per_host": 1, "timeouts": {"pool": SOON}}
        async with reaching(server, **rules) as outbound, anyio.create_task_group() as tasks:
            tasks.start_soon(outbound.send, get(server.url))
            while not server.got:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(OutboundTimeoutError, match="no free connection"):
                await outbound.send(get(server.url))
            tasks.cancel_scope.cancel()


async def test_all_origins_together_have_their_places() -> None:
    async with raw_server(silence) as server, raw_server(answer()) as other:
        rules = {"max_connections": 1, "timeouts": {"pool": SOON}}
        async with reaching(server, other, **rules) as outbound:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(outbound.send, get(server.url))
                while not server.got:
                    await anyio.lowlevel.checkpoint()
                with pytest.raises(OutboundTimeoutError, match="no free connection"):
                    await outbound.send(get(other.url))
                tasks.cancel_scope.cancel()
            assert (await outbound.send(get(other.url))).status == 200


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        async with reaching(hosts=["*"], ports=[port]) as outbound:
            with pytest.raises(UnreachableError, match=r"127\.0\.0\.1 can't be reached"):
                await outbound.send(get(f"http://127.0.0.1:{port}"))


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_an_answer_that_breaks_off_is_none(begun: bytes, how: str) -> None:
    async def handle(received: Received, stream: ByteStream) -> None:
        if begun:
            await stream.send(begun)
        if how == "reset":
            raw = stream.extra(SocketAttribute.raw_socket)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with raw_server(handle) as server, reaching(server) as outbound:
        with pytest.raises(BrokenAnswerError) as caught:
            await outbound.send(get(server.url))
        assert "hunter22" not in f"{caught.value.to_wire()}"
        assert caught.value.host == "127.0.0.1"
        # The broken connection is not kept.
        with pytest.raises(BrokenAnswerError):
            await outbound.send(get(server.url))
    assert server.connections == 2


async def test_a_reset_while_sending() -> None:
    async def take(stream: ByteStream) -> None:
        async with stream:
            await stream.receive(10)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, take)
        async with reaching(hosts=["*"], ports=[port]) as outbound:
            with pytest.raises(BrokenAnswerError):
                url = f"http://127.0.0.1:{port}"
                await outbound.send(OutboundRequest("PUT", url, body=bytes(30_000_000)))
        tasks.cancel_scope.cancel()


async def test_an_answer_that_comes_before_the_body_was_taken_is_one() -> None:
    said = answer(413, [("Connection", "close")], b"too much")

    async def take(stream: ByteStream) -> None:
        async with stream:
            await stream.receive(10)
            await stream.send(said)
            async for _ in stream:
                pass

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, take)
        async with reaching(hosts=["*"], ports=[port]) as outbound:
            url = f"http://127.0.0.1:{port}"
            response = await outbound.send(OutboundRequest("PUT", url, body=bytes(3_000_000)))
        tasks.cancel_scope.cancel()
    assert (response.status, response.body) == (413, b"too much")


async def test_a_kept_connection_that_was_closed_is_not_used() -> None:
    async def handle(received: Received, stream: ByteStream) -> None:
        await stream.send(answer(body=b"once"))

    async with raw_server(handle) as server, reaching(server) as outbound:
        for _ in range(3):
            response = await outbound.send(get(server.url))
            assert response.body == b"once"
            while server.open:
                await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
async def test_a_cancelled_request_leaves_nothing(begun: bytes) -> None:
    async def handle(received: Received, stream: ByteStream) -> None:
        await stream.send(begun)
        await stream.receive()

    async with (
        raw_server(handle) as server,
        reaching(server, max_connections=2) as outbound,
        nothing_left_running(),
    ):
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                before = len(server.got)
                tasks.start_soon(outbound.send, get(server.url))
                tasks.start_soon(outbound.send, get(server.url))
                while len(server.got) < before + 2:
                    await anyio.lowlevel.checkpoint()
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
        while server.open:
            await anyio.lowlevel.checkpoint()


async def test_progress_that_fails_ends_the_request() -> None:
    async def progress(phase: str, received: int | None, total: int | None) -> None:
        if phase == "receiving":
            raise RuntimeError("nobody wants to know")

    said = answer(body=bytes(200_000))
    async with raw_server(said) as server, reaching(server) as outbound:
        with pytest.raises(RuntimeError, match="nobody"):
            await outbound.send(get(server.url), on_progress=progress)
        assert len((await outbound.send(get(server.url))).body) == 200_000


def test_every_error_is_one_of_the_brokers() -> None:
    kinds = [OutboundError, *OutboundError.__subclasses__(), *UnreachableError.__subclasses__()]
    assert {kind.code for kind in kinds} == {"TOOL_ERROR", "TOOL_TIMEOUT", "RESULT_TOO_LARGE"}
