"""A tool call in an interactive session over HTTP, against a bare JSON answer.

Each connection is kept alive and calls in a session of its own; the answers of both have the
same bytes.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import replace

import anyio.to_thread
from http_servers import BACKENDS, NEEDS, RESULT, bare, broker, compared, load
from interleaved import Measured
from load import Order

TITLE = "an interactive session's tool call over HTTP, keep-alive"
UNIT = "a second"
CONNECTIONS = (1, 32)
AT_LEAST = {"broker, 1 connection": 0.35, "broker, 32 connections": 0.35}
SECONDS = 2.0
SHORT = 0.2

BODY = json.dumps({"name": "users:get", "args": {"id": 1}})
DATA = f'"data":{RESULT},"ok":true'

__all__ = ["AT_LEAST", "BACKENDS", "NEEDS", "TITLE", "UNIT", "measured"]


async def measured(repetitions: int, short: bool) -> Measured:
    seconds = SHORT if short else SECONDS
    async with broker() as server:
        made = await anyio.to_thread.run_sync(sessions, server.url, max(CONNECTIONS))
        paths = [f"/sessions/{one}/tool-calls" for one in made]
        ours = Order(server.url, 1, paths[:1], BODY, "application/json", DATA, seconds)
        answer = (await load(replace(ours, answers=1))).body
        async with bare(call=[answer]) as floor:
            ways: dict[int, tuple[Order, Order]] = {}
            for connections in CONNECTIONS:
                ours = replace(ours, connections=connections, paths=paths[:connections])
                ways[connections] = replace(ours, url=floor.url, paths=["/call"]), ours
            return await compared(ways, repetitions, warm=not short)


def sessions(url: str, count: int) -> list[str]:
    """The ids of so many new interactive sessions."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/sessions", b"{}", headers)
    ids: list[str] = []
    for _ in range(count):
        with urllib.request.urlopen(request) as answer:
            ids.append(json.load(answer)["sessionId"])
    return ids
