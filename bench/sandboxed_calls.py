"""Each further awaited call of sandboxed code, against the bare loops of ``sandboxed``.

One run makes all the calls of a turn, in a session that is open already. In ``broker`` they
go through the whole pipeline and are recorded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from brokered_call import Case, broker
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import open_monty
from pydantic_monty import AsyncMonty, ResourceLimits
from sandboxed import BACKENDS, WORKERS, Host, auto, bare

from enclave_broker_core.contracts import OpenContext

TITLE = "each further awaited call of sandboxed code"
BARS = {"plugin": 1.3, "broker": 1.3}
TIMES = 400
TURNS = 5

LIMITS: ResourceLimits = {"max_suspensions": 1_000_000}

__all__ = ["BACKENDS", "BARS", "TIMES", "TITLE", "TURNS", "cases"]


def running(run: Callable[[str], Awaitable[Any]]) -> Case:
    async def case(n: int) -> None:
        await run(f'for n in range({n}):\n    await call_tool("users:get", {{"id": n}})')

    return case


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    config = MontyConfig(workers=WORKERS)
    # The runtime closes last: it waits for native threads that the bare pool leaves behind.
    async with (
        open_monty(config, OpenContext("runtime")) as runtime,
        runtime.session(Host()) as session,
        broker(None, runtime=open_monty(config, OpenContext("runtime"))) as made,
        made.session() as whole,
        AsyncMonty(min_processes=WORKERS, max_processes=WORKERS) as pool,
        pool.checkout(limits=LIMITS) as fed,
        pool.checkout(limits=LIMITS) as driven,
    ):

        async def outcome(code: str) -> None:
            (await whole.run(code)).unwrap()

        yield {
            "bare feed_run": running(lambda code: bare(fed, code)),
            "bare resume_auto": running(lambda code: auto(driven, code)),
            "plugin": running(session.run),
            "broker": running(outcome),
        }
