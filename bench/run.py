"""Runs the benchmarks: ``python bench/run.py [--short] [--repetitions N] [name ...]``.

A benchmark is a module here with ``async def cases()``, an async context manager that
yields name → async function ``(n)`` which does the thing ``n`` times; the first one is the
floor. All cases are measured in turns in one process, so that a change of the machine's
pace meets all alike; the median and the spread of the repetitions are printed, and how many
times the floor each one is. ``--short`` only shows that everything works.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

BENCHMARKS = ("brokered_call",)

Case = Callable[[int], Awaitable[None]]


async def measure(cases: Mapping[str, Case], n: int, repetitions: int) -> dict[str, list[float]]:
    """Microseconds for one of each case, for each repetition."""
    measured: dict[str, list[float]] = {name: [] for name in cases}
    for repetition in range(-1, repetitions):
        for name, case in cases.items():
            gc.collect()
            started = time.perf_counter()
            await case(n)
            took = (time.perf_counter() - started) / n * 1e6
            # The first round only warms up.
            if repetition >= 0:
                measured[name].append(took)
    return measured


def report(title: str, measured: Mapping[str, list[float]]) -> None:
    floor = statistics.median(next(iter(measured.values())))
    print(f"\n{title}\n{'':32}{'median':>10}{'least':>10}{'most':>10}{'floors':>9}")
    for name, took in measured.items():
        middle = statistics.median(took)
        print(
            f"{name:32}{middle:8.2f} us{min(took):7.2f} us{max(took):7.2f} us{middle / floor:8.1f}x"
        )


async def run(module: Any, n: int, repetitions: int) -> None:
    async with module.cases() as cases:
        report(f"{module.__name__}, {n} times {repetitions}", await measure(cases, n, repetitions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=BENCHMARKS, help="some of them")
    parser.add_argument("--short", action="store_true", help="only see that all of them work")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {options.backend}")
    for name in options.names:
        module = importlib.import_module(name)
        n, repetitions = (3, 1) if options.short else (module.TIMES, options.repetitions)
        anyio.run(run, module, n, repetitions, backend=options.backend)


if __name__ == "__main__":
    main()
