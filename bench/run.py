"""Runs the benchmarks: ``python bench/run.py [--short] [--json FILE] [name ...]``.

A benchmark is a module here with a ``TITLE``; ``BARS``, case → the most that its ratio to
the floor may be; ``TIMES``, how often a case does its thing in one turn; and ``cases()``, an
async context manager that yields name → async function ``(n)`` which does the thing ``n``
times, the floor first. All cases take turns in one process, so that a change of the
machine's pace meets all alike. Printed are the median and the spread of the repetitions, in
microseconds and as ratios to the floor. ``--short`` only shows that everything works.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
from interleaved import Figures, Measured, measure

BENCHMARKS = ("brokered_call", "brokered_call_that_waits")

TURNS = 40


async def run(module: Any, repetitions: int, turns: int, times: int) -> Measured:
    async with module.cases() as cases:
        return await measure(cases, repetitions=repetitions, turns=turns, calls=times)


def report(module: Any, measured: Measured) -> None:
    print(f"\n{module.TITLE}\n{'':28}{'microseconds':>28}{'times the floor':>26}")
    for name, took in measured.figures.items():
        line = f"{name:28}{_spread(took):>28}"
        ratio = measured.ratios.get(name)
        if ratio is not None:
            line += f"{_spread(ratio):>26}"
        bar = module.BARS.get(name)
        if ratio is not None and bar is not None:
            line += f"   at most {bar:g}: {'holds' if ratio.median <= bar else 'MISSED'}"
        print(line)


def _spread(figures: Figures) -> str:
    return f"{figures.median:.2f} ({figures.least:.2f} to {figures.most:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=BENCHMARKS, help="some of them")
    parser.add_argument("--short", action="store_true", help="only see that all of them work")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    machine = f"Python {platform.python_version()}, {platform.machine()}, {options.backend}"
    print(machine)
    found: dict[str, Any] = {"machine": machine}
    for name in options.names:
        module = importlib.import_module(name)
        size = (1, 1, 3) if options.short else (options.repetitions, TURNS, module.TIMES)
        measured = anyio.run(run, module, *size, backend=options.backend)
        report(module, measured)
        found[name] = asdict(measured)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
