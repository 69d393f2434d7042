"""Resident memory of the server and its sandbox workers as 10,000 sessions come and go.

They come over HTTP, each with code that makes one tool call. As in ``memory``, the store is
to keep 500 of those that have ended: unless told otherwise it keeps 10,000 for a minute, on
purpose, and what that takes would hide what leaks.
"""

from __future__ import annotations

from dataclasses import replace

from http_servers import BACKENDS, NEEDS, broker, load, resident
from http_sessions import order
from interleaved import Figures, Measured

TITLE = "resident memory of a server and its sandbox workers after so many sessions over HTTP"
UNIT = "MiB"
COUNTS = tuple(range(1_000, 11_000, 1_000))
SHORT = (20, 40)
# A sandbox worker has a MiB more at one time than at another; 1 KiB a session would be 9 MiB.
BARS = {f"{count:,}": 1.05 for count in COUNTS[1:]}
MOST = {f"{count:,}": 120.0 for count in COUNTS}
# What belongs to a process and to its children is in /proc.
SYSTEMS = ("linux",)
CONNECTIONS = 32
# In seconds: it ends when so many have come.
LONG = 1e6
KEPT = """
[store]
use = "memory"
max_ended = 500
"""

__all__ = ["BACKENDS", "BARS", "MOST", "NEEDS", "SYSTEMS", "TITLE", "UNIT", "measured"]


async def measured(repetitions: int, short: bool) -> Measured:
    counts = SHORT if short else COUNTS
    found: dict[str, list[float]] = {f"{count:,}": [] for count in counts}
    # What memory is does not vary as time does.
    for _ in range(min(3, repetitions)):
        async with broker(KEPT) as server:
            done = 0
            for count in counts:
                these = replace(order(server.url, CONNECTIONS, LONG), answers=count - done)
                came = await load(these)
                assert came.rate
                done = count
                found[f"{count:,}"].append(resident(server.pid))
    first, *others = found
    return Measured(
        first,
        {name: Figures.of(values) for name, values in found.items()},
        {
            name: Figures.of([a / b for a, b in zip(found[name], found[first], strict=True)])
            for name in others
        },
    )
