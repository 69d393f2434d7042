"""The same call as in ``brokered_call`` whose handler waits once, as most real ones do.

Only here does a call cost its deadline's timer: what never waits is never late.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio.lowlevel
from brokered_call import TIMES, Arguments, Case, broker, calls

TITLE = "brokered call whose handler waits once"
BARS: Mapping[str, float] = {}

__all__ = ["BARS", "TIMES", "TITLE", "cases"]


async def handler(args: Arguments) -> dict[str, Any]:
    await anyio.lowlevel.checkpoint()
    return {"id": args.id, "name": "Alice"}


async def floor(n: int) -> None:
    for _ in range(n):
        await handler(Arguments.model_validate({"id": 1}))


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    async with (
        broker(None, handler) as plain,
        broker(5.0, handler) as timed,
        plain.session() as without,
        timed.session() as within,
    ):
        yield {"floor": floor, "no deadline": calls(without), "with a deadline": calls(within)}
