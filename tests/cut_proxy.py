"""A proxy for HTTP that breaks connections where a test wants them broken."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketAttribute, SocketStream
from tcp_proxy import BROKEN, pass_on, until_one_ends

# What an event's line ends with; nothing else in an answer does.
END = b"}\n"
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Cut:
    """Break a connection behind so many events of its answer, and so much of the next one;
    behind none there is the answer's head.

    ``part`` is of that event's bytes, 0 to 1: at 1 only the end of its line is missing.
    """

    events: int
    part: float = 0.0

    def place(self, passed: bytes) -> tuple[int, bool]:
        """How much of what came may pass, and whether that is all that ever may."""
        at = passed.find(HEAD_END) + len(HEAD_END)
        if at < len(HEAD_END):
            return len(passed), False
        for _ in range(self.events):
            found = passed.find(END, at)
            if found < 0:
                return len(passed), False
            at = found + len(END)
        if not self.part:
            return at, True
        end = passed.find(END, at)
        if end < 0:
            return at, False
        whole = end + len(END) - at
        return at + min(whole - 1, max(1, int(whole * self.part))), True


@dataclass(frozen=True)
class After:
    """Break it after so many bytes of the answer, wherever that is."""

    size: int

    def place(self, passed: bytes) -> tuple[int, bool]:
        return min(len(passed), self.size), len(passed) >= self.size


class Deaf:
    """Break it before the server has had anything of the request."""


@dataclass
class Proxy:
    """``plan`` says what becomes of the connections to come; those that are not in it are
    left alone. ``requests`` are the first lines of what was asked on new connections."""

    url: str
    plan: deque[Cut | After | Deaf | None] = field(default_factory=deque)
    requests: list[str] = field(default_factory=list)

    async def take(self, client: SocketStream, host: str, port: int) -> None:
        what = self.plan.popleft() if self.plan else None
        async with client:
            try:
                asked = await client.receive()
                self.requests.append(asked.partition(b"\r\n")[0].decode())
                if isinstance(what, Deaf):
                    return
                async with await anyio.connect_tcp(host, port) as server:
                    await server.send(asked)
                    await self._pass_on(client, server, what)
            except BROKEN:
                return

    async def _pass_on(
        self, client: SocketStream, server: SocketStream, what: Cut | After | None
    ) -> None:
        async def down() -> None:
            passed, sent, over = b"", 0, False
            async for piece in server:
                passed += piece
                upto, over = (len(passed), False) if what is None else what.place(passed)
                if upto > sent:
                    await client.send(passed[sent:upto])
                    sent = upto
                if over:
                    break

        await until_one_ends(partial(pass_on, client, server), down)


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[Proxy]:
    """A proxy for the server at ``url``."""
    at = urlsplit(url)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    proxy = Proxy(f"http://127.0.0.1:{port}")

    async def take(client: SocketStream) -> None:
        await proxy.take(client, str(at.hostname), at.port or 80)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, take)
        yield proxy
        tasks.cancel_scope.cancel()
