"""An HTTP server for tests that keeps the very bytes it got, and answers with any bytes at all."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import anyio
from anyio.abc import ByteStream, SocketAttribute, TaskStatus
from anyio.streams.tls import TLSListener

BROKEN = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    ssl.SSLError,
    OSError,
)


@dataclass(frozen=True)
class Received:
    """A request as it came: nothing is decoded, and header names keep their case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) < 2, f"{name} came {len(found)} times"
        return found[0] if found else None


Handler = Callable[[Received, ByteStream], Awaitable[None]]
Answer = bytes | Callable[[Received], bytes] | Handler  # a Handler is a coroutine function


@dataclass
class RawServer:
    """``got`` are the requests so far, ``connections`` counts those that were made."""

    port: int
    scheme: str = "http"
    got: list[Received] = field(default_factory=list)
    connections: int = 0
    open: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


def answer(
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    sized: bool = True,
) -> bytes:
    """A whole answer; without ``sized`` it says nothing of its length."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if sized:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def silence(received: Received, stream: ByteStream) -> None:
    """Answer nothing, and keep the connection until the client has enough."""
    await stream.receive()


@asynccontextmanager
async def raw_server(
    what: Answer, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[RawServer]:
    """A server on a free port, on the loop of the test.

    Bytes are the answer to every request, a function makes it, a coroutine function writes it
    and may do whatever it likes; after it the connection is closed.
    """
    (listener,) = (await anyio.create_tcp_listener(local_host=host)).listeners
    server = RawServer(listener.extra(SocketAttribute.local_port), "https" if tls else "http")

    async def take(stream: ByteStream) -> None:
        server.connections += 1
        server.open += 1
        try:
            async with stream:
                await _converse(stream, server, what)
        except BROKEN:
            pass
        finally:
            server.open -= 1

    async def serve(*, task_status: TaskStatus[None]) -> None:
        task_status.started()  # so that it is there when a test counts the tasks
        await whole.serve(take)

    whole = listener if tls is None else TLSListener(listener, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        await tasks.start(serve)
        yield server
        tasks.cancel_scope.cancel()


async def _converse(stream: ByteStream, server: RawServer, what: Answer) -> None:
    waiting = b""
    while True:
        received, waiting = await _request(stream, waiting)
        server.got.append(received)
        if isinstance(what, bytes):
            await stream.send(what)
        elif inspect.iscoroutinefunction(what):
            await what(received, stream)
            return
        else:
            await stream.send(what(received))


async def _request(stream: ByteStream, waiting: bytes) -> tuple[Received, bytes]:
    while b"\r\n\r\n" not in waiting:
        waiting += await stream.receive()
    head, _, rest = waiting.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    size = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    while len(rest) < size:
        rest += await stream.receive()
    return Received(method, target, headers, rest[:size]), rest[size:]
