"""The brokered call of ``brokered_call`` against FastMCP's, in one process, without a wire.

FastMCP's has its rate-limiting and its timing middleware and a tool with one parameter of
the same model's field; the timing's log is off, so that nobody pays for printing it. It has
no rules, no history and no events, so the broker does more for its time.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from brokered_call import Case, broker, calls

TITLE = "brokered call against FastMCP's server.call_tool, rate limiting and timing"
AT_LEAST = {"FastMCP": 10.0}
TIMES = 20
NEEDS = ("fastmcp",)
BACKENDS = ("asyncio",)


async def get_user(id: int) -> dict[str, Any]:
    return {"id": id, "name": "Alice"}


def server() -> Any:
    # By name: the type checker has to pass where the peer is not installed.
    fastmcp: Any = import_module("fastmcp")
    limiting: Any = import_module("fastmcp.server.middleware.rate_limiting")
    timing: Any = import_module("fastmcp.server.middleware.timing")
    logging.getLogger("fastmcp").setLevel(logging.WARNING)
    made = fastmcp.FastMCP("peer")
    made.add_middleware(
        limiting.RateLimitingMiddleware(max_requests_per_second=1e6, burst_capacity=1_000_000)
    )
    made.add_middleware(timing.TimingMiddleware())
    made.tool(get_user, name="users_get")
    return made


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    peer = server()

    async def theirs(n: int) -> None:
        for _ in range(n):
            await peer.call_tool("users_get", {"id": 1})

    async with broker(None) as plain, plain.session() as session:
        yield {"ours": calls(session), "FastMCP": theirs}
