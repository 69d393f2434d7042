"""How to drive pydantic-monty: what a session and a host call cost, each way.

Run with ``python bench/monty_driving.py [repetitions]``; takes some fifteen seconds.

bare      feed_run with the host's coroutine as it is (leaves calls behind)
scoped    feed_run with each call in a cancel scope that the run keeps (what the plugin does)
tasks     feed_run with each call in a task that the run keeps
driven    feed_start, and every call answered from outside by resume()
auto      feed_start and resume_auto()
plugin    the whole plugin, with loading and dumping the state
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import MontyRuntime, open_monty
from pydantic_monty import (
    AsyncFunctionSnapshot,
    AsyncFutureSnapshot,
    AsyncMonty,
    AsyncMontySession,
    MontyComplete,
)

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.hosts import RecordingHost

ONE = "await call_tool(1)"
HUNDRED = "for n in range(100):\n    await call_tool(n)"
GATHERED = """
import asyncio
for n in range(10):
    await asyncio.gather(*[call_tool(n) for n in range(10)])
"""
SESSIONS = 20

Way = Callable[[AsyncMontySession, str], Awaitable[Any]]


async def call(n: int) -> int:
    return n


async def bare(session: AsyncMontySession, code: str) -> Any:
    return await session.feed_run(code, external_lookup={"call_tool": call})


async def scoped(session: AsyncMontySession, code: str) -> Any:
    scopes: set[anyio.CancelScope] = set()

    async def owned(n: int) -> int:
        result = 0
        with anyio.CancelScope() as scope:
            scopes.add(scope)
            try:
                result = await call(n)
            finally:
                scopes.discard(scope)
        return result

    return await session.feed_run(code, external_lookup={"call_tool": owned})


async def tasks(session: AsyncMontySession, code: str) -> Any:
    kept: set[asyncio.Task[int]] = set()

    async def owned(n: int) -> int:
        task = asyncio.create_task(call(n))
        kept.add(task)
        task.add_done_callback(kept.discard)
        return await task

    return await session.feed_run(code, external_lookup={"call_tool": owned})


async def driven(session: AsyncMontySession, code: str) -> Any:
    pending: dict[int, asyncio.Task[int]] = {}
    snapshot = await session.feed_start(code, external_lookup={"call_tool": call})
    while not isinstance(snapshot, MontyComplete):
        if isinstance(snapshot, AsyncFunctionSnapshot) and not snapshot.is_os_function:
            pending[snapshot.call_id] = asyncio.create_task(call(*snapshot.args))
            snapshot = await snapshot.resume({"future": ...})
        elif isinstance(snapshot, AsyncFutureSnapshot):
            waited = [pending[number] for number in snapshot.pending_call_ids]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            done = [number for number in snapshot.pending_call_ids if pending[number].done()]
            snapshot = await snapshot.resume(
                {number: {"return_value": pending.pop(number).result()} for number in done}
            )
        else:
            snapshot = await snapshot.resume_auto()
    return snapshot.output


async def auto(session: AsyncMontySession, code: str) -> Any:
    snapshot = await session.feed_start(code, external_lookup={"call_tool": call})
    while not isinstance(snapshot, MontyComplete):
        snapshot = await snapshot.resume_auto()
    return snapshot.output


WAYS: dict[str, Way] = {f.__name__: f for f in (bare, scoped, tasks, driven, auto)}
MEASURED = ("session", "call awaited", "call gathered")


class FastHost(RecordingHost):
    async def call(self, name: Any, arguments: Any) -> Any:
        return arguments["n"]


async def measure_way(pool: AsyncMonty, way: Way) -> tuple[float, float, float]:
    begin = time.perf_counter()
    for _ in range(SESSIONS):
        async with pool.checkout() as session:
            await way(session, ONE)
    whole = (time.perf_counter() - begin) / SESSIONS
    each = []
    async with pool.checkout() as session:
        await way(session, ONE)
        for code in (HUNDRED, GATHERED):
            begin = time.perf_counter()
            await way(session, code)
            each.append((time.perf_counter() - begin) / 100)
    return whole, each[0], each[1]


async def measure_plugin(runtime: MontyRuntime) -> tuple[float, float, float]:
    def code(text: str) -> str:
        return text.replace("call_tool(1)", 'call_tool("t", {"n": 1})').replace(
            "call_tool(n)", 'call_tool("t", {"n": n})'
        )

    host = FastHost()
    begin = time.perf_counter()
    for _ in range(SESSIONS):
        async with runtime.session(host) as session:
            await session.run(code(ONE))
    whole = (time.perf_counter() - begin) / SESSIONS
    each = []
    async with runtime.session(host) as session:
        await session.run("0")
        begin = time.perf_counter()
        await session.run("0")
        empty = time.perf_counter() - begin
        for text in (HUNDRED, GATHERED):
            begin = time.perf_counter()
            await session.run(code(text))
            each.append((time.perf_counter() - begin - empty) / 100)
    return whole, each[0], each[1]


async def main(repetitions: int) -> None:
    seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in [*WAYS, "plugin"]}
    async with (
        open_monty(MontyConfig(workers=2), OpenContext("runtime")) as runtime,
        AsyncMonty(min_processes=2, max_processes=2) as pool,
    ):
        for repetition in range(repetitions + 1):
            for name, way in WAYS.items():
                result = await measure_way(pool, way)
                if repetition:  # the first one only warms up
                    seen[name].append(result)
            result = await measure_plugin(runtime)
            if repetition:
                seen["plugin"].append(result)
    print(f"median (least - most) of {repetitions} repetitions, microseconds")
    print(f"{'':8}" + "".join(f"{what:>26}" for what in MEASURED))
    for name, results in seen.items():
        line = f"{name:8}"
        for column in zip(*results, strict=True):
            times = [value * 1e6 for value in column]
            text = f"{statistics.median(times):.0f} ({min(times):.0f} - {max(times):.0f})"
            line += f"{text:>26}"
        print(line)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
