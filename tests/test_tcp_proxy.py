"""The proxy's faults are those of a network."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute, SocketStream
from tcp_proxy import HOST, TcpProxy, proxy_thread, tcp_proxy

PATIENCE = 20.0
GONE = (anyio.EndOfStream, anyio.BrokenResourceError)

pytestmark = pytest.mark.anyio


class Echo:
    """Sends back what it gets. ``got`` is what has come so far."""

    def __init__(self) -> None:
        self.port = 0
        self.got = b""
        self.open = 0

    async def answer(self, stream: SocketStream) -> None:
        self.open += 1
        try:
            async with stream:
                async for piece in stream:
                    self.got += piece
                    await stream.send(piece)
        except anyio.BrokenResourceError:
            pass
        finally:
            self.open -= 1


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    listener = await anyio.create_tcp_listener(local_host=HOST)
    server = Echo()
    server.port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.answer)
        yield server
        tasks.cancel_scope.cancel()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[TcpProxy]:
    async with tcp_proxy(HOST, echo.port) as proxy:
        yield proxy


async def connected(proxy: TcpProxy) -> SocketStream:
    """A connection on which the other side has answered."""
    stream = await anyio.connect_tcp(HOST, proxy.port)
    assert await told(stream, b"hello") == b"hello"
    return stream


async def told(stream: SocketStream, text: bytes) -> bytes:
    await stream.send(text)
    with anyio.fail_after(PATIENCE):
        return await stream.receive()


async def test_it_passes_on_what_both_sides_say(proxy: TcpProxy, echo: Echo) -> None:
    async with await connected(proxy) as one, await connected(proxy) as other:
        assert await told(one, b"one") == b"one"
        assert await told(other, b"other") == b"other"
    assert echo.got == b"hellohelloone" + b"other"
    assert proxy.accepted == 2


async def test_a_cut_ends_the_connections_there_are(proxy: TcpProxy, echo: Echo) -> None:
    async with await connected(proxy) as one, await connected(proxy) as other:
        await proxy.cut()
        for stream in (one, other):
            with anyio.fail_after(PATIENCE), pytest.raises(GONE):
                await stream.receive()
    async with await connected(proxy):
        pass


async def test_who_is_refused_can_not_connect(proxy: TcpProxy) -> None:
    async with await connected(proxy) as before:
        await proxy.refuse()
        with pytest.raises(OSError, match="connect"):
            await anyio.connect_tcp(HOST, proxy.port)
        assert await told(before, b"still here") == b"still here"
        await proxy.resume()
        async with await connected(proxy):
            pass


async def test_what_is_delayed_has_not_come_yet(proxy: TcpProxy, echo: Echo) -> None:
    async with await connected(proxy) as stream:
        await proxy.delay(3600)
        await stream.send(b"late")
        with anyio.move_on_after(0.05) as waited:
            await stream.receive()
        assert waited.cancelled_caught
        assert echo.got == b"hello"
        # Nothing of it is lost.
        await proxy.resume()
        with anyio.fail_after(PATIENCE):
            assert await stream.receive() == b"late"
        await proxy.delay(0.001)
        assert await told(stream, b"a little late") == b"a little late"


async def test_nothing_comes_through_what_is_half_open(proxy: TcpProxy, echo: Echo) -> None:
    async with AsyncExitStack() as stack:
        before = await stack.enter_async_context(await connected(proxy))
        leaving = await stack.enter_async_context(await connected(proxy))
        await proxy.half_open()
        during = await stack.enter_async_context(await anyio.connect_tcp(HOST, proxy.port))
        for stream in (before, during):
            with anyio.fail_after(PATIENCE):
                await stream.send(bytes(10_000_000))  # more than any buffer takes
            with anyio.move_on_after(0.05) as waited:
                await stream.receive()
            assert waited.cancelled_caught
        await proxy.resume()
        async with await connected(proxy) as after:
            await before.send(b"lost")
            await leaving.aclose()
            for _ in range(3):
                assert await told(after, b"new") == b"new"
            # The server has not heard that one of them has gone.
            assert echo.open == 3
        assert echo.got == b"hello" * 3 + b"new" * 3


async def test_a_server_that_is_not_there_ends_the_connection() -> None:
    with socket.socket() as nobody:
        nobody.bind((HOST, 0))
        async with (
            tcp_proxy(HOST, nobody.getsockname()[1]) as proxy,
            await anyio.connect_tcp(HOST, proxy.port) as stream,
        ):
            with anyio.fail_after(PATIENCE), pytest.raises(GONE):
                await stream.receive()


async def test_clients_speak_tls_to_one_with_a_certificate(echo: Echo) -> None:
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    async with tcp_proxy(HOST, echo.port, theirs) as proxy:
        async with await anyio.connect_tcp(
            HOST, proxy.port, ssl_context=ours, tls_standard_compatible=False
        ) as stream:
            await stream.send(b"secret")
            with anyio.fail_after(PATIENCE):
                assert await stream.receive() == b"secret"
        async with await anyio.connect_tcp(HOST, proxy.port) as plain:
            await plain.send(b"plain\r\n" * 100)
            with anyio.fail_after(PATIENCE):
                try:
                    alert = await plain.receive()
                except GONE:
                    alert = b""
            assert b"plain" not in alert
    assert echo.got == b"secret"


def test_in_a_thread_it_does_the_same() -> None:
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(PATIENCE)

        def answer() -> None:
            for _ in range(2):
                connection, _address = server.accept()
                with connection:
                    connection.sendall(connection.recv(100))

        thread = threading.Thread(target=answer)
        thread.start()
        with proxy_thread(HOST, server.getsockname()[1]) as proxy:
            for _ in range(2):
                with socket.create_connection((HOST, proxy.port), PATIENCE) as client:
                    client.sendall(b"hello")
                    assert client.recv(100) == b"hello"
            assert proxy.accepted == 2
            proxy.refuse()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, proxy.port), PATIENCE)
            proxy.resume()
            proxy.half_open()
            with socket.create_connection((HOST, proxy.port), 0.05) as client:
                client.sendall(b"hello")
                with pytest.raises(TimeoutError):
                    client.recv(100)
        thread.join()
