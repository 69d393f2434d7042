"""A sandboxed session of one call against bare loops on pydantic-monty, on the same code.

In a bare loop a worker is taken, the code is fed, the call is
answered by the plain floor of ``brokered_call``, and the worker is given back. ``plugin`` is
the runtime's session with the same answer; ``broker`` is a whole session that executes the
code as its last act, with its events, its end and the pipeline around the call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from brokered_call import Arguments, Case, broker, handler
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import open_monty
from pydantic_monty import AsyncMonty, AsyncMontySession, MontyComplete

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.hosts import RecordingHost

TITLE = "sandboxed session of one call, against bare loops on pydantic-monty"
BARS = {"plugin": 1.3, "broker": 1.3}
# Long turns: the last worker of ours is given back in the turn of the next.
TIMES = 25
TURNS = 4
BACKENDS = ("asyncio",)

CODE = 'await call_tool("users:get", {"id": 1})'
WORKERS = 2


async def answer(name: str, args: dict[str, Any]) -> dict[str, Any]:
    return await handler(Arguments.model_validate(args))


async def bare(session: AsyncMontySession, code: str) -> Any:
    return await session.feed_run(code, external_lookup={"call_tool": answer})


async def auto(session: AsyncMontySession, code: str) -> Any:
    snapshot = await session.feed_start(code, external_lookup={"call_tool": answer})
    while not isinstance(snapshot, MontyComplete):
        snapshot = await snapshot.resume_auto()
    return snapshot.output


class Host(RecordingHost):
    async def call(self, name: str, arguments: Any, *, key: str | None = None) -> Any:
        return await answer(name, arguments)


def sessions(pool: AsyncMonty, way: Callable[[AsyncMontySession, str], Awaitable[Any]]) -> Case:
    async def case(n: int) -> None:
        for _ in range(n):
            async with pool.checkout() as session:
                await way(session, CODE)

    return case


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    config = MontyConfig(workers=WORKERS)
    host = Host()
    # The runtime closes last: it waits for native threads that the bare pool leaves behind.
    async with (
        open_monty(config, OpenContext("runtime")) as runtime,
        broker(None, runtime=open_monty(config, OpenContext("runtime"))) as made,
        AsyncMonty(min_processes=WORKERS, max_processes=WORKERS) as pool,
    ):

        async def plugin(n: int) -> None:
            for _ in range(n):
                async with runtime.session(host) as session:
                    await session.run(CODE, last=True)

        async def whole(n: int) -> None:
            for _ in range(n):
                async with made.session() as session:
                    (await session.execute(CODE)).unwrap()

        yield {
            "bare feed_run": sessions(pool, bare),
            "bare resume_auto": sessions(pool, auto),
            "plugin": plugin,
            "broker": whole,
        }
