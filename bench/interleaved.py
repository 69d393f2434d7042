"""Measures ways of doing the same thing side by side in one process, in turns."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

Loop = Callable[[int], Awaitable[None]]
"""Does the thing so many times, in a plain loop."""


@dataclass(frozen=True)
class Figures:
    """What the repetitions gave, as microseconds for doing it once: median, least, most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Measured:
    """``ratios`` are to ``baseline``: median, least and most of the repetitions' own ratios.

    Each repetition has its own, from turns that lie next to each other in time, so that a
    machine whose speed drifts does not change them.
    """

    baseline: str
    figures: Mapping[str, Figures]
    ratios: Mapping[str, Figures]


async def measure(
    ways: Mapping[str, Loop], *, repetitions: int, turns: int, calls: int
) -> Measured:
    """Time every way in ``repetitions`` of ``turns`` turns of ``calls`` calls.

    The first way is the baseline. Within a repetition the ways take turns, each repetition
    is the sum of its turns, and one repetition before the first is not counted.
    """
    names = list(ways)
    times: dict[str, list[float]] = {name: [] for name in names}
    for repetition in range(repetitions + 1):
        spent = dict.fromkeys(names, 0.0)
        gc.collect()
        for _ in range(turns):
            for name in names:
                started = time.perf_counter()
                await ways[name](calls)
                spent[name] += time.perf_counter() - started
        if repetition:
            for name in names:
                times[name].append(spent[name] / (turns * calls) * 1e6)
    baseline = names[0]
    return Measured(
        baseline,
        {name: Figures.of(times[name]) for name in names},
        {
            name: Figures.of([a / b for a, b in zip(times[name], times[baseline], strict=True)])
            for name in names[1:]
        },
    )
