"""What is thrown at the real program does not stay in its memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
# What a process may grow by for other reasons; each attack sends several times as much.
SLACK = 40 * MIB
SENT = 200 * MIB
CONFIG = """
[access]
default = "allow"
[[tools]]
use = "python"
module = "tools.py"
[server.limits]
header_timeout = 60
body_timeout = 60
"""
TOOLS = """
from enclave_broker_core import tool

@tool("inc")
def inc(n: int) -> int:
    return n + 1
"""
POST = b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /sessions HTTP/1.1\r\nHost: localhost\r\n"


def status_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/status")


@pytest.fixture
def server(started_anew: Any) -> Iterator[Any]:
    with started_anew(config=CONFIG, tools=TOOLS) as it:
        if not status_of(it.process.pid).exists():
            pytest.skip("a process's memory is read from /proc, which this system has not")
        yield it
        assert it.stop() == 0
        assert "Traceback" not in it.stderr


def most_memory(server: Any) -> int:
    """The most that it has had so far, in bytes."""
    for line in status_of(server.process.pid).read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("there is no VmHWM")


async def works(url: str) -> bool:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        session = (await client.post("/sessions", json={})).json()["sessionId"]
        call = {"name": "inc", "args": {"n": 1}}
        called = await client.post(f"/sessions/{session}/tool-calls", json=call)
        deleted = await client.delete(f"/sessions/{session}")
    return called.json()["data"] == 2 and deleted.status_code == 200


ATTACKS = {
    "a body that is announced": (POST + b"Content-Length: 1073741824\r\n\r\n", b" " * MIB),
    "chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + b" " * MIB + b"\r\n"),
    "a chunk's extension": (POST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * MIB),
    "fields after the body": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
        b"a: b\r\n" * (MIB // 6),
    ),
    "a field after the body": (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\na: ", b"a" * MIB),
    "a header": (GET + b"a: ", b"a" * MIB),
    "a header's name": (GET, b"a" * MIB),
    "headers": (GET, b"a: b\r\n" * (MIB // 6)),
    "a URL": (b"GET /", b"a" * MIB),
    "a method": (b"", b"A" * MIB),
    "empty lines": (b"", b"\r\n" * (MIB // 2)),
    "requests": (b"", (GET + b"\r\n") * (MIB // 60)),
    "a body for who reads none": (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n",
        b" " * MIB,
    ),
}


async def test_it_does_not_grow_by_what_is_sent(server: Any, connect: Any) -> None:
    assert await works(server.url)
    grown: dict[str, int] = {}
    for kind, (begin, more) in ATTACKS.items():
        before = most_memory(server)
        async with connect(server.url) as wire:
            with anyio.move_on_after(20):
                await wire.send(begin, *[more] * (SENT // MIB))
            grown[kind] = most_memory(server) - before
        assert await works(server.url)
    assert {kind: size for kind, size in grown.items() if size > SLACK} == {}


async def test_many_at_once(server: Any, connect: Any) -> None:
    assert await works(server.url)
    before = most_memory(server)
    async with anyio.create_task_group() as tasks:

        async def attack(begin: bytes, more: bytes) -> None:
            async with connect(server.url) as wire:
                with anyio.move_on_after(20):
                    await wire.send(begin, *[more] * 5)

        for begin, more in ATTACKS.values():
            for _ in range(3):
                tasks.start_soon(attack, begin, more)
        assert await works(server.url)
    assert most_memory(server) - before < SLACK
    assert await works(server.url)
