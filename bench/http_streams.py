"""1,000 streams open at once, each of a session of its own in which nothing happens.

A heartbeat comes each second, the shortest that can be asked for, and each stream's are
counted for some time. A client takes a stream for dead after two times the usual interval
without one: a beat is missed for each gap of more than two seconds, also that before the
first and that after the last.
"""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import cast
from urllib.parse import urlsplit

from http_servers import BACKENDS, NEEDS, broker, resident
from interleaved import Figures, Measured

TITLE = "streams open at once, idle but for a heartbeat each second"
UNIT = "MiB; beats; seconds"
STREAMS = 1_000
SHORT_STREAMS = 30
SECONDS = 10.0
SHORT = 1.5
INTERVAL = 1.0
MEMORY, MISSED, GAP = "resident memory", "heartbeats missed", "longest between two"
MOST = {MEMORY: 200.0, MISSED: 0.0}
SYSTEMS = ("linux",)
# How many are opened at a time, and how long, in seconds, that may take.
AT_A_TIME = 50
PATIENCE = 60.0
OTHER_FILES = 200
QUICK = """
[server.streams]
heartbeat = 1
"""

__all__ = ["BACKENDS", "MOST", "NEEDS", "SYSTEMS", "TITLE", "UNIT", "measured"]


class Stream(asyncio.Protocol):
    """Creates a session and follows it. ``beats`` are the times of what has come."""

    def __init__(self, number: int) -> None:
        self._id = f"s_idle_{number}"
        self._coming = b""
        self._created = False
        self.opened = asyncio.get_running_loop().create_future()
        self.beats: list[float] = []
        self.wrong: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        body = json.dumps({"sessionId": self._id}).encode()
        head = "POST /sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self.transport.write(
            b"%b" % head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
        )

    def data_received(self, data: bytes) -> None:
        self._coming += data
        if not self._created:
            if not self._coming.endswith(b"}"):
                return
            self._created = True
            self._coming = b""
            asked = f"GET /sessions/{self._id}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            self.transport.write(asked.encode())
            return
        *lines, self._coming = self._coming.split(b"\n")
        for line in lines:
            if not line.startswith(b"{"):
                continue  # of the head, or around a piece
            kind = json.loads(line)["type"]
            if kind == "heartbeat":
                self.beats.append(time.monotonic())
            elif kind == "session_init" and not self.opened.done():
                self.opened.set_result(None)
            else:
                self.wrong.append(line)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"{self._id}: {self._coming!r}"))

    def gaps(self, begun: float, ended: float) -> list[float]:
        """The seconds between its beats within this time, and its edges."""
        times = [begun, *(beat for beat in self.beats if begun < beat < ended), ended]
        return [after - before for before, after in pairwise(times)]


async def measured(repetitions: int, short: bool) -> Measured:
    count, seconds = (SHORT_STREAMS, SHORT) if short else (STREAMS, SECONDS)
    found: dict[str, list[float]] = {MEMORY: [], MISSED: [], GAP: []}
    for _ in range(min(3, repetitions)):
        with files_for(count):
            async with broker(QUICK) as server:
                streams = await opened(server.url, count)
                begun = time.monotonic()
                await asyncio.sleep(seconds)
                ended = time.monotonic()
                found[MEMORY].append(resident(server.pid))
                gaps = [gap for stream in streams for gap in stream.gaps(begun, ended)]
                found[MISSED].append(sum(gap > 2 * INTERVAL for gap in gaps))
                found[GAP].append(max(gaps))
                for stream in streams:
                    stream.transport.abort()
                    assert stream.wrong == []
    return Measured(MEMORY, {name: Figures.of(values) for name, values in found.items()}, ratios={})


async def opened(url: str, count: int) -> list[Stream]:
    """So many streams, all of them open."""
    loop = asyncio.get_running_loop()
    at = urlsplit(url)
    assert at.hostname is not None
    assert at.port is not None
    streams = [Stream(number) for number in range(count)]
    async with asyncio.timeout(PATIENCE):
        for first in range(0, count, AT_A_TIME):
            these = streams[first : first + AT_A_TIME]
            for stream in these:

                def connection(stream: Stream = stream) -> Stream:
                    return stream

                await loop.create_connection(connection, at.hostname, at.port)
            await asyncio.gather(*(stream.opened for stream in these))
    return streams


@contextmanager
def files_for(count: int) -> Iterator[None]:
    """Let this process have so many connections for the time of a block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
