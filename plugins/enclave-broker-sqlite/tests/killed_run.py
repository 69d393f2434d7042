"""A process with a durable run that waits for a tool when it is killed.

``python killed_run.py PATH``; prints the id of the session once the tool has been called.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import open_monty
from enclave_broker_sqlite.config import SqliteConfig
from enclave_broker_sqlite.store import open_store

from enclave_broker_core import Broker, SessionSettings
from enclave_broker_core.contracts import OpenContext

CODE = """
first = await add(1, 2)
print("first", first)
second = await slow(first)
print("second", second)
[first, second]
"""


class Tools:
    """``slow`` waits for ever when it is ``held``."""

    def __init__(self, held: bool) -> None:
        self.calls: list[str] = []
        self.held = held
        self.began = anyio.Event()

    async def add(self, a: int, b: int) -> int:
        self.calls.append("add")
        return a + b

    async def slow(self, n: int) -> int:
        self.calls.append("slow")
        self.began.set()
        if self.held:
            await anyio.sleep_forever()
        return 10 * n


@asynccontextmanager
async def broker(path: str, tools: Tools) -> AsyncIterator[Broker]:
    made = Broker(
        store=open_store(SqliteConfig(path=path), OpenContext("store")),
        runtime=open_monty(MontyConfig(), OpenContext("runtime")),
        sessions=SessionSettings(durable_key="a key that both processes have, 32 or more"),
    )
    made.tool("add")(tools.add)
    made.tool("slow", idempotent=True)(tools.slow)
    async with made:
        yield made


async def main(path: str) -> None:
    tools = Tools(held=True)
    async with broker(path, tools) as made:
        session = await made.create_session(durable=True)
        await session.begin(CODE)
        await tools.began.wait()
        print(session.id, flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
