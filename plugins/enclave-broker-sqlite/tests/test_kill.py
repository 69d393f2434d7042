"""Whenever the process is killed, the file is whole, and has all that was acknowledged."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import killed_writer
import pytest
from enclave_broker_sqlite.config import SqliteConfig
from enclave_broker_sqlite.file import open_file
from enclave_broker_sqlite.store import SqliteStore

from enclave_broker_core.models import Claim
from enclave_broker_core.testing.replica_suite import Served

pytestmark = pytest.mark.anyio

MOST = killed_writer.WINDOW[0].max_calls


class Known:
    """What was acknowledged, by all processes together."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.ended: set[str] = set()
        self.deleting: set[str] = set()
        self.sizes: dict[str, dict[int, int]] = {}
        self.claims: dict[tuple[str, str], Claim] = {}
        self.saved: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.kills = 0

    def hear(self, line: str) -> None:
        what, *words = line.split()
        self.counts[what] += 1
        if what == "created":
            self.open.add(words[0])
        elif what == "ended":
            self.open.discard(words[0])
            self.ended.add(words[0])
        elif what == "deleting":
            self.deleting.add(words[0])
        elif what == "wrote":
            self.sizes.setdefault(words[0], {})[int(words[1])] = int(words[2])
        elif what in ("claimed", "settled"):
            done = Claim("settled", b"done") if what == "settled" else Claim("pending")
            self.claims[words[0], words[1]] = done
        elif what == "saved":
            self.saved[words[0]] = int(words[1])


def killed_after(path: Path, seed: int, lines: int, known: Known) -> None:
    """Let a process write until it has said so much; then kill it and hear the rest."""
    program = [sys.executable, killed_writer.__file__, str(path), str(seed)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(lines):
            line = process.stdout.readline()
            assert line, "the writer ended by itself"
            known.hear(line)
        process.kill()
        for line in process.stdout:
            if line.endswith("\n"):
                known.hear(line)


def look_at_the_file(path: Path) -> None:
    sql = sqlite3.connect(path)
    try:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for table in ("recent", "events", "calls", "claims", "saved", "answers"):
            strays = sql.execute(
                f"SELECT count(*) FROM {table} WHERE session NOT IN"
                " (SELECT number FROM sessions UNION SELECT number FROM gone WHERE cleared = 0)"
            ).fetchone()
            assert strays == (0,), table
    finally:
        sql.close()


async def look_at_the_sessions(path: Path, known: Known) -> None:
    async with (
        open_file(SqliteConfig(path=str(path), wait=5.0)) as file,
        anyio.create_task_group() as tasks,
    ):
        store = SqliteStore(file)
        found = {item.id: item for item in await store.list(include_ended=True, limit=10**6)}
        missing = (known.open | known.ended) - found.keys()
        assert missing <= known.deleting
        still_open = {id for id, item in found.items() if not item.state.ended}
        assert known.ended.isdisjoint(still_open)
        # Of those at most that were being written to when it was killed.
        assert len(still_open ^ (known.open - missing)) <= killed_writer.WRITERS
        for id, item in found.items():
            log: list[Any] = []
            while more := await store.read(id, len(log) + 1):
                log += more
            assert [one.seq for one in log] == list(range(1, item.last_seq + 1))
            sizes = known.sizes.get(id, {})
            assert {seq: len(log[seq - 1].payload_json) for seq in sizes} == sizes
            assert (log[-1:] and log[-1].type == "final") == item.state.ended or not log
            assert len(await store.history(id)) == item.tool_calls
            if id in still_open and id in known.saved:
                saved = await store.saved(id)
                assert saved is not None
                assert int(saved.state) >= known.saved[id]
        for (id, key), claim in known.claims.items():
            if id in found:
                got = await store.claim(id, key, "f", seconds=1.0)
                assert got in (claim, Claim("settled", b"done"))
        [remaining] = await store.limiter.remaining(killed_writer.WINDOW)
        assert known.counts["admitted"] <= MOST - remaining
        assert MOST - remaining <= known.counts["admitted"] + known.kills * killed_writer.WRITERS
        served = Served(store)
        tasks.start_soon(served.serve)
        with anyio.fail_after(15):
            await served.until(lambda: len(served.taken_up) >= len(still_open))
        assert {item.id for item in served.taken_up} == still_open
        served.stop_serving()
        known.open = still_open


async def kill(path: Path, times: int) -> None:
    chosen, known = random.Random(os.urandom(8).hex()), Known()
    for number in range(1, times + 1):
        known.kills = number
        lines = chosen.randrange(1, 400)
        await anyio.to_thread.run_sync(killed_after, path, chosen.getrandbits(32), lines, known)
        look_at_the_file(path)
        await look_at_the_sessions(path, known)
    assert known.counts["lost"] == 0


@pytest.fixture
def anyio_backend() -> str:
    """The processes that are killed are on one of them; both have tests enough."""
    return "asyncio"


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    await kill(tmp_path / "broker.db", 10)


@pytest.mark.soak
async def test_nothing_acknowledged_is_lost_in_many_kills(tmp_path: Path) -> None:
    await kill(tmp_path / "broker.db", 200)
