"""The memory of a process that makes a catalog of 1,000 operations, as in openapi_catalog.

It is the most that the whole process ever had, the interpreter and what it imports included.
"""

from __future__ import annotations

from interleaved import Measured
from openapi_catalog import BACKENDS, NEEDS, compared, processes

TITLE = "the most memory of a process with a catalog of 1,000 operations"
UNIT = "MiB"
MOST = {"ours": 150.0}

__all__ = ["BACKENDS", "MOST", "NEEDS", "TITLE", "UNIT", "measured"]


async def measured(repetitions: int, short: bool) -> Measured:
    # What memory is does not vary as time does.
    return compared(await processes(min(3, repetitions), short), 1)
