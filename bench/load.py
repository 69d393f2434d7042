"""A load generator: ``python bench/load.py ORDER``, an ``Order`` as JSON; a ``Load`` comes out.

Each connection sends its next request when it has the whole answer to the one before, which
must be what is wanted, or it is not counted and tells what was wrong.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from secrets import token_hex
from typing import cast
from urllib.parse import urlsplit

import uvloop

ID = "$ID"
# How long, in seconds, an answer may take.
PATIENCE = 30.0


@dataclass(frozen=True)
class Order:
    """POST ``body`` to ``paths`` in turn, over so many connections, for so many ``seconds``.

    ``$ID`` in the body is a session id that was not there before. ``wanted`` must stand in
    each answer. Where ``answers`` is given, it ends when so many have come.
    """

    url: str
    connections: int
    paths: list[str]
    body: str
    accept: str
    wanted: str
    seconds: float
    answers: int | None = None


@dataclass(frozen=True)
class Load:
    """Whole answers as wanted, and what was wrong with others.

    ``body`` is that of the last one, ``writes`` in how many pieces most of them came.
    """

    answers: int
    seconds: float
    wrong: list[str] = field(default_factory=list)
    body: str = ""
    writes: int = 0

    @property
    def rate(self) -> float:
        """Answers a second; ValueError when one was wrong."""
        if self.wrong or not self.answers:
            raise ValueError(f"wrong answers: {self.wrong[:3]}")
        return self.answers / self.seconds


class _Work:
    """What the connections share: the requests that are to be sent, and what came of them."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._wanted = order.wanted.encode()
        self._paths = itertools.cycle(order.paths)
        self._ids = (f"s_{token_hex(6)}_{n}" for n in itertools.count())
        self._until = time.perf_counter() + order.seconds
        self._left = order.answers
        self.answers = 0
        self.wrong: list[str] = []
        self.body = b""
        self.writes: Counter[int] = Counter()

    def request(self) -> bytes | None:
        """The next one; None when there is none any more."""
        if time.perf_counter() >= self._until or self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
        body = self._order.body.replace(ID, next(self._ids)).encode()
        head = (
            f"POST {next(self._paths)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nAccept: {self._order.accept}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def take(self, answer: bytes, pieces: list[bytes]) -> None:
        body = b"".join(pieces)
        if answer.startswith(b"HTTP/1.1 20") and self._wanted in body:
            self.answers += 1
            self.body = body
            self.writes[len(pieces)] += 1
        else:
            self.wrong.append(answer.decode(errors="replace"))


class _Connection(asyncio.Protocol):
    """One connection; ``done`` is called when it is closed."""

    def __init__(self, work: _Work, done: Callable[[], None]) -> None:
        self._work = work
        self._done = done
        self._coming = b""
        self._waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._coming += data
        pieces = whole(self._coming)
        if pieces is not None:
            answer, self._coming = self._coming, b""
            self._waits = False
            self._work.take(answer, pieces)
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waits:
            self._work.wrong.append(f"cut off after {self._coming!r}")
        self._done()

    def _next(self) -> None:
        request = self._work.request()
        if request is None:
            self._transport.close()
        else:
            self._waits = True
            self._transport.write(request)


def whole(answer: bytes) -> list[bytes] | None:
    """The pieces of a whole answer's body; None when some of it is still to come."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return None
    head = head.lower()
    if b"\r\ntransfer-encoding: chunked" in head:
        return list(_chunks(body)) if body.endswith(b"0\r\n\r\n") else None
    length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
    return [body] if len(body) >= length else None


def _chunks(body: bytes) -> Iterator[bytes]:
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if not size:
            return
        at = end + 2 + size
        yield body[end + 2 : at]
        at += 2


async def load(order: Order) -> Load:
    loop = asyncio.get_running_loop()
    at = urlsplit(order.url)
    assert at.hostname is not None
    assert at.port is not None
    started = time.perf_counter()
    work = _Work(order)
    over = [loop.create_future() for _ in range(order.connections)]
    for one in over:

        def connection(one: asyncio.Future[None] = one) -> _Connection:
            return _Connection(work, lambda: one.set_result(None))

        await loop.create_connection(connection, at.hostname, at.port)
    limit = PATIENCE + (order.seconds if order.answers is None else order.answers)
    async with asyncio.timeout(limit):
        await asyncio.gather(*over)
    seconds = time.perf_counter() - started
    writes = max(work.writes, key=work.writes.__getitem__, default=0)
    return Load(work.answers, seconds, work.wrong[:3], work.body.decode(), writes)


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(load(Order(**json.loads(sys.argv[1])))))))
