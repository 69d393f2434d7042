"""Resident memory as 10,000 sessions come and go, each with a call.

They run in a process of their own, so that no other benchmark's memory hides a growth. The
store keeps as many ended sessions as it is told to, by default 10,000 and for a minute: here
500, so that they are all there before the first 1,000 have ended. A session's own window is
kept until it has passed, so here it is short.
"""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path

import anyio
import sniffio
from brokered_call import PLENTY, broker
from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.store import MemoryStore
from interleaved import Figures, Measured

from enclave_broker_core import RateLimiter

TITLE = "resident memory after so many sessions, one after the other"
UNIT = "MiB"
COUNTS = tuple(range(1_000, 11_000, 1_000))
SHORT = (100, 200)
BARS = {f"{count:,}": 1.02 for count in COUNTS[1:]}
KEPT = 500
WINDOW = 0.1


def resident() -> float:
    """The resident memory in MiB; on macOS, which does not tell, the most that it ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        # In bytes there. A peak is no less strict: it grows with what is resident.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return pages * resource.getpagesize() / 2**20


async def sessions(counts: list[int]) -> None:
    """Print the resident memory after each of so many sessions."""
    store = MemoryStore(MemoryStoreConfig(max_ended=KEPT))
    limiter = RateLimiter(global_=PLENTY, per_session={"max_calls": 1_000, "window": WINDOW})
    async with broker(None, store=store, limiter=limiter) as made:
        done = 0
        for count in counts:
            while done < count:
                async with made.session() as session:
                    await session.call("users:get", {"id": 1})
                done += 1
            gc.collect()
            print(resident())


async def measured(repetitions: int, short: bool) -> Measured:
    counts = SHORT if short else COUNTS
    loop = sniffio.current_async_library()
    command = [sys.executable, __file__, loop, *map(str, counts)]
    found: list[list[float]] = []
    # What memory is does not vary as time does.
    for _ in range(min(3, repetitions)):
        done = await anyio.run_process(command, stderr=None)
        found.append([float(line) for line in done.stdout.split()])
    names = [f"{count:,}" for count in counts]
    columns = dict(zip(names, zip(*found, strict=True), strict=True))
    first = columns[names[0]]
    return Measured(
        names[0],
        {name: Figures.of(column) for name, column in columns.items()},
        {
            name: Figures.of([a / b for a, b in zip(columns[name], first, strict=True)])
            for name in names[1:]
        },
    )


if __name__ == "__main__":
    anyio.run(sessions, [*map(int, sys.argv[2:])], backend=sys.argv[1])
