"""A session over HTTP whose code makes one tool call, against the bare answer of its bytes.

The floor reads the request and answers with the same lines, in as many writes as most of
the broker's answers came in just before, with as many connections.
"""

from __future__ import annotations

import json
from dataclasses import replace

from http_servers import BACKENDS, NEEDS, RESULT, bare, broker, compared, load
from interleaved import Measured
from load import Order

TITLE = "a session over HTTP whose code makes one tool call, in Monty"
UNIT = "a second"
CONNECTIONS = (1, 32)
AT_LEAST = {"broker, 32 connections": 0.085}
SECONDS = 2.0
SHORT = 0.2

CODE = 'await call_tool("users:get", {"id": 1})'
BODY = json.dumps({"sessionId": "$ID", "code": CODE})
FINAL = f'"type":"final","payload":{{"ok":true,"result":{RESULT}'

__all__ = ["AT_LEAST", "BACKENDS", "NEEDS", "TITLE", "UNIT", "measured"]


async def measured(repetitions: int, short: bool) -> Measured:
    seconds = SHORT if short else SECONDS
    async with broker() as server:
        ours = {count: order(server.url, count, seconds) for count in CONNECTIONS}
        seen = {count: await load(these) for count, these in ours.items()}
        answers = {f"sessions{count}": written(one.body, one.writes) for count, one in seen.items()}
        async with bare(**answers) as floor:
            ways = {
                count: (replace(these, url=floor.url, paths=[f"/sessions{count}"]), these)
                for count, these in ours.items()
            }
            return await compared(ways, repetitions, warm=not short)


def order(url: str, connections: int, seconds: float) -> Order:
    return Order(url, connections, ["/sessions"], BODY, "application/x-ndjson", FINAL, seconds)


def written(body: str, writes: int) -> list[str]:
    """The lines of an answer in so many pieces."""
    lines = body.splitlines(keepends=True)
    return [*lines[: writes - 1], "".join(lines[writes - 1 :])]
