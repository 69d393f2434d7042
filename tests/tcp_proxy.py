"""A proxy for TCP, and what a network does to those who use it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.streams.tls import TLSListener

HOST = "127.0.0.1"
BROKEN = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


async def until_one_ends(*ways: Callable[[], Awaitable[None]]) -> None:
    """Both ways of a connection: when one has no more to pass on, the other ends too."""
    async with anyio.create_task_group() as tasks:

        async def go(way: Callable[[], Awaitable[None]]) -> None:
            with suppress(*BROKEN):
                await way()
            tasks.cancel_scope.cancel()

        for way in ways:
            tasks.start_soon(go, way)


async def pass_on(source: ByteStream, target: ByteStream) -> None:
    async for piece in source:
        await target.send(piece)


@dataclass(eq=False)
class Connection:
    """One that goes through the proxy. ``lost`` is for ever: nothing passes any more, and
    neither side hears that the other has closed."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)
    lost: bool = False


class TcpProxy:
    """Leads from ``port`` to a target, until a fault is set; ``resume()`` ends all of them.

    ``accepted`` counts connections. A fault has begun when its method returns.
    """

    def __init__(self, host: str, port: int, certificate: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.accepted = 0
        self._target = host, port
        self._certificate = certificate
        self._connections: set[Connection] = set()
        self._listener: Listener[Any] | None = None
        self._resumed = anyio.Event()
        self._delay = 0.0
        self._half_open = False

    async def cut(self) -> None:
        """End all connections there are. New ones are let through."""
        ending = list(self._connections)
        for connection in ending:
            connection.scope.cancel()
        for connection in ending:
            await connection.ended.wait()

    async def refuse(self) -> None:
        """Let nobody connect any more; connections that there are stay."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await listener.aclose()

    async def delay(self, seconds: float) -> None:
        """Keep back what comes, one piece after the other, each way."""
        self._delay = seconds

    async def half_open(self) -> None:
        """Take all that comes, from new connections too, and pass nothing on.

        These connections stay so after ``resume()``, until they are closed or cut.
        """
        self._half_open = True
        for connection in self._connections:
            connection.lost = True

    async def resume(self) -> None:
        """Let new connections, and those that are not lost, be what they should."""
        self._delay, self._half_open = 0.0, False
        if self._listener is None:
            await self._listen()
        self._resumed.set()
        self._resumed = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Serve until cancelled."""
        await self._listen()
        task_status.started()
        async with anyio.create_task_group() as tasks:
            try:
                while True:
                    listener = self._listener
                    if listener is None:
                        await self._resumed.wait()
                        continue
                    with suppress(anyio.ClosedResourceError):  # which is what refuse() does
                        await listener.serve(self._take, tasks)
            finally:
                await self.refuse()

    async def _listen(self) -> None:
        both = await anyio.create_tcp_listener(local_host=HOST, local_port=self.port)
        (listener,) = both.listeners
        self.port = listener.extra(SocketAttribute.local_port)
        self._listener = listener
        if self._certificate is not None:
            self._listener = TLSListener(listener, self._certificate, standard_compatible=False)

    async def _take(self, client: ByteStream) -> None:
        self.accepted += 1
        connection = Connection(lost=self._half_open)
        self._connections.add(connection)
        try:
            with connection.scope, suppress(*BROKEN, OSError):
                await self._connect(connection, client)
        finally:
            self._connections.remove(connection)
            await anyio.aclose_forcefully(client)
            connection.ended.set()

    async def _connect(self, connection: Connection, client: ByteStream) -> None:
        if connection.lost:
            await _swallow(client)
            return
        async with await anyio.connect_tcp(*self._target) as server:
            await until_one_ends(
                partial(self._pass_on, connection, client, server),
                partial(self._pass_on, connection, server, client),
            )

    async def _pass_on(self, connection: Connection, source: ByteStream, to: ByteStream) -> None:
        try:
            async for piece in source:
                if self._delay:
                    with anyio.move_on_after(self._delay):
                        await self._resumed.wait()
                if not connection.lost:
                    await to.send(piece)
        finally:
            if connection.lost:
                # Whoever is at the other end is not told.
                await anyio.sleep_forever()


async def _swallow(source: ByteStream) -> None:
    async for _ in source:
        pass


@asynccontextmanager
async def tcp_proxy(
    host: str, port: int, certificate: ssl.SSLContext | None = None
) -> AsyncIterator[TcpProxy]:
    """A proxy that leads to a server; with a certificate its clients speak TLS to it."""
    proxy = TcpProxy(host, port, certificate)
    async with anyio.create_task_group() as tasks:
        await tasks.start(proxy.run)
        yield proxy
        tasks.cancel_scope.cancel()


class ProxyThread:
    """A proxy whose loop is in a thread: ``TcpProxy``, with methods that are not async."""

    def __init__(self, portal: BlockingPortal, proxy: TcpProxy) -> None:
        self._portal, self._proxy = portal, proxy

    @property
    def port(self) -> int:
        return self._proxy.port

    @property
    def accepted(self) -> int:
        return self._proxy.accepted

    def cut(self) -> None:
        self._portal.call(self._proxy.cut)

    def refuse(self) -> None:
        self._portal.call(self._proxy.refuse)

    def delay(self, seconds: float) -> None:
        self._portal.call(self._proxy.delay, seconds)

    def half_open(self) -> None:
        self._portal.call(self._proxy.half_open)

    def resume(self) -> None:
        self._portal.call(self._proxy.resume)


@contextmanager
def proxy_thread(
    host: str, port: int, certificate: ssl.SSLContext | None = None
) -> Iterator[ProxyThread]:
    """The same in a thread of its own, for tests that have no loop, and for processes."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(tcp_proxy(host, port, certificate)) as proxy,
    ):
        yield ProxyThread(portal, proxy)
