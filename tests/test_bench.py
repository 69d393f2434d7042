"""The benchmarks work; what they measure is for ``tox run -e bench``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_BENCHMARKS = ("run.py", "interleaved.py", "monty_driving.py")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_all_benchmarks_run(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "bench/run.py", "--short", "--backend", backend],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "with a deadline" in done.stdout
    titles = [line for line in done.stdout.splitlines() if "MiB" in line or "microsec" in line]
    skipped = done.stdout.count("not measured: ")
    assert len(titles) + skipped == len(list((ROOT / "bench").glob("*.py"))) - len(NO_BENCHMARKS)
