"""Runs the benchmarks: ``python bench/run.py [--short] [--json FILE] [name ...]``.

A benchmark is a module here with a ``TITLE`` and ``cases()``, an async context manager that
yields name → async function ``(n)`` which does the thing ``n`` times, the floor first.
``TIMES`` is how often a case does its thing in one turn, ``TURNS`` how many turns make a
repetition; ``BARS`` has case → the most that its ratio to the floor may be, ``AT_LEAST`` the
least that it must be; ``MOST`` is about the figure itself. What a module needs that may not be
here is in ``NEEDS``, names of distributions, in ``BACKENDS`` and in ``SYSTEMS``. One that is not
about time in this process has ``measured(repetitions, short)`` in place of ``cases`` and its
``UNIT``.

All cases take turns in one process, so that a change of the machine's pace meets all alike.
Printed are the median and the spread of the repetitions, and as ratios to the floor.
``--short`` only shows that everything works.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import anyio
from interleaved import Figures, Measured, measure

BENCHMARKS = (
    "brokered_call",
    "brokered_call_that_waits",
    "traced_call",
    "against_fastmcp",
    "windows_against_limits",
    "access_decisions",
    "sandboxed",
    "sandboxed_calls",
    "javascript",
    "javascript_calls",
    "growth",
    "memory",
    "http_sessions",
    "http_calls",
    "http_memory",
    "http_streams",
    "redis_limiter",
    "redis_limiter_cluster",
    "redis_limiter_in_turn",
    "redis_calls",
    "redis_following",
    "sqlite_calls",
    "openapi_catalog",
    "openapi_memory",
    "openapi_call",
    "mcp_call",
    "mcp_list",
)

TURNS = 40


async def run(module: Any, repetitions: int, short: bool) -> Measured:
    if hasattr(module, "measured"):
        given: Measured = await module.measured(repetitions, short)
        return given
    turns, times = (1, 3) if short else (getattr(module, "TURNS", TURNS), module.TIMES)
    async with module.cases() as cases:
        return await measure(cases, repetitions=repetitions, turns=turns, calls=times)


def not_here(module: Any, backend: str) -> str | None:
    """Why a benchmark can't be measured here; None when it can."""
    backends = getattr(module, "BACKENDS", (backend,))
    if backend not in backends:
        return f"runs on {' and '.join(backends)} only"
    systems = getattr(module, "SYSTEMS", (sys.platform,))
    if sys.platform not in systems:
        return f"runs on {' and '.join(systems)} only"
    try:
        for name in getattr(module, "NEEDS", ()):
            version(name)
    except PackageNotFoundError as missing:
        return f"install {missing.name} (requirements/bench.txt)"
    return None


def report(module: Any, measured: Measured) -> None:
    unit = getattr(module, "UNIT", "microseconds")
    times = f"  {'times ' + measured.baseline:>28}" if measured.ratios else ""
    print(f"{'':32}{unit:>28}{times}")
    for name, took in measured.figures.items():
        line = f"{name:32}{_spread(took):>28}"
        ratio = measured.ratios.get(name)
        if ratio is not None:
            line += f"  {_spread(ratio):>28}"
            line += _bar("at most", _of(module, "BARS", name), ratio.median)
            line += _bar("at least", _of(module, "AT_LEAST", name), ratio.median)
        most = _of(module, "MOST", name)
        line += _bar("at most", most, took.median, "" if ratio is None else f" {unit}")
        print(line)


def _of(module: Any, bars: str, name: str) -> float | None:
    found: float | None = getattr(module, bars, {}).get(name)
    return found


def _bar(kind: str, bar: float | None, value: float, unit: str = "") -> str:
    if bar is None:
        return ""
    holds = value <= bar if kind == "at most" else value >= bar
    return f"   {kind} {bar:g}{unit}: {'holds' if holds else 'MISSED'}"


def _spread(figures: Figures) -> str:
    # The bar of some ratios has three digits behind the point.
    median, least, most = (
        f"{value:.{3 if figures.median < 1 else 2}f}"
        for value in (figures.median, figures.least, figures.most)
    )
    return f"{median} ({least} to {most})"


def machine(backend: str) -> str:
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux: what platform says has to do
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {backend}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=BENCHMARKS, help="some of them")
    parser.add_argument("--short", action="store_true", help="only see that all of them work")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    print(machine(options.backend))
    found: dict[str, Any] = {"machine": machine(options.backend)}
    for name in options.names:
        module = importlib.import_module(name)
        print(f"\n{module.TITLE}")
        reason = not_here(module, options.backend)
        if reason is not None:
            print(f"not measured: {reason}")
            found[name] = {"not measured": reason}
            continue
        repetitions = 1 if options.short else options.repetitions
        measured = anyio.run(run, module, repetitions, options.short, backend=options.backend)
        report(module, measured)
        found[name] = asdict(measured)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
