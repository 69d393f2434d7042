"""A process that writes to a file until it is killed, and says what was acknowledged.

``python killed_writer.py PATH SEED``; each line on stdout is one acknowledgement.
"""

from __future__ import annotations

import os
import random
import sys
from functools import partial
from typing import Any

import anyio
from enclave_broker_sqlite.config import SqliteConfig
from enclave_broker_sqlite.file import open_file
from enclave_broker_sqlite.store import SqliteStore

from enclave_broker_core.models import SessionRecord, SessionState, Window
from enclave_broker_core.testing.replica_suite import lasting
from enclave_broker_core.testing.samples import call, draft, event

WINDOW = (Window("all", "global", 1_000_000, 3600.0),)
WRITERS = 8


def tell(*words: object) -> None:
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


class Writing:
    """Writes to sessions, its own and those that it takes up; it is the Holder as well."""

    def __init__(self, store: SqliteStore, chosen: random.Random) -> None:
        self._store = store
        self._chosen = chosen
        self._left_open: list[SessionRecord] = []

    def lost(self, session_id: str) -> None:
        tell("lost", session_id)

    async def take_up(self, record: SessionRecord) -> None:
        tell("took", record.id)
        self._left_open.append(record)

    def command(self, session_id: str, body: bytes) -> Any:
        raise NotImplementedError("nobody asks for anything")

    async def write(self) -> None:
        chosen, store = self._chosen, self._store
        while True:
            if self._left_open:
                record = self._left_open.pop()
                id, last = record.id, record.last_seq
            else:
                id, last = f"s_{os.getpid()}_{chosen.getrandbits(40):x}", 0
                await store.create(lasting(id))
                tell("created", id)
            for _ in range(chosen.randrange(1, 60)):
                last = await self._step(id, last)
            if chosen.random() < 0.5:
                await store.end(id, ("final", b'{"ok":true}'), SessionState.COMPLETED, 1.0)
                tell("ended", id)
                if chosen.random() < 0.3:
                    tell("deleting", id)
                    await store.delete(id)

    async def _step(self, id: str, last: int) -> int:
        chosen, store = self._chosen, self._store
        size = chosen.choice([1, 100, 100, 20_000])
        given = draft(event(0, by=last, text="x" * size))
        what = chosen.randrange(10)
        if what < 5:
            last = await store.append(id, given, call(f"c_{last}") if what < 2 else None)
            tell("wrote", id, last, len(given[1]))
        elif what < 7:
            await store.admit(id, given, WINDOW)
            tell("admitted")
            last += 1
        elif what == 7:
            key = f"k_{chosen.randrange(5)}"
            found = await store.claim(id, key, "f", seconds=3600.0)
            if found.state == "new":
                tell("claimed", id, key)
                await store.settle(id, key, b"done")
                tell("settled", id, key)
        else:
            await store.save(id, b"%d" % last)
            tell("saved", id, last)
        return last


async def main(path: str, seed: int) -> None:
    async with (
        open_file(SqliteConfig(path=path, wait=10.0)) as file,
        anyio.create_task_group() as tasks,
    ):
        # All that happens now and then happens often.
        file.ledger.folding.rows = 40
        store = SqliteStore(file)
        writing = Writing(store, random.Random(seed))
        tasks.start_soon(store.serve, writing)
        for _ in range(WRITERS):
            tasks.start_soon(writing.write)


if __name__ == "__main__":
    anyio.run(partial(main, sys.argv[1], int(sys.argv[2])))
