"""The call of ``brokered_call`` by 50 tasks at once: kept in memory, and in a file.

Each task has a session of its own, or all are in one. To hold: at least 0.3 of what memory does
in the same time. With ``synchronous = "full"`` each commit also waits for the disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any, Literal

import anyio
from brokered_call import Case, broker
from enclave_broker_sqlite.config import SqliteConfig
from enclave_broker_sqlite.store import open_store

from enclave_broker_core import Session
from enclave_broker_core.contracts import OpenContext

TITLE = "brokered call by 50 tasks at once, fully stored: memory and SQLite"
TASKS = 50
# Calls in the same time, as microseconds for one.
LEAST = 0.3
BARS = {"SQLite": 1 / LEAST, "SQLite, one session": 1 / LEAST}
NEEDS = ("enclave-broker-sqlite",)
TURNS = 8
TIMES = 20 * TASKS


def at_once(sessions: Sequence[Session]) -> Case:
    """So many calls, divided among the tasks; each is one after the other in its own."""

    async def some(session: Session, count: int) -> None:
        for _ in range(count):
            await session.call("users:get", {"id": 1})

    async def case(n: int) -> None:
        async with anyio.create_task_group() as tasks:
            for number, session in enumerate(sessions):
                tasks.start_soon(some, session, n // TASKS + (number < n % TASKS))

    return case


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())

        async def made(sessions: int, synchronous: Literal["normal", "full"] | None) -> Case:
            parts: dict[str, Any] = {}
            if synchronous is not None:
                path = f"{folder}/{synchronous}-{sessions}.db"
                config = SqliteConfig(path=path, synchronous=synchronous)
                parts["store"] = open_store(config, OpenContext("store"))
            opened = await stack.enter_async_context(broker(None, **parts))
            own = [await opened.create_session() for _ in range(sessions)]
            return at_once(own * (TASKS // sessions))

        yield {
            "memory": await made(TASKS, None),
            "SQLite": await made(TASKS, "normal"),
            "SQLite, one session": await made(1, "normal"),
            "SQLite, full": await made(TASKS, "full"),
        }
