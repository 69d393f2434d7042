"""The benchmarks work; what they measure is for ``tox run -e bench``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_BENCHMARKS = {
    "http_bare.py",
    "http_servers.py",
    "interleaved.py",
    "load.py",
    "mcp_bare.py",
    "mcp_stdio.py",
    "redis_servers_here.py",
    "run.py",
}


@pytest.mark.parametrize("backend", ["asyncio", pytest.param("trio", marks=pytest.mark.soak)])
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
    # A table begins where its unit stands.
    tables = [line for line in done.stdout.splitlines() if line.startswith(" " * 20)]
    skipped = done.stdout.count("not measured: ")
    benchmarks = {path.name for path in (ROOT / "bench").glob("*.py")} - NO_BENCHMARKS
    assert len(tables) + skipped == len(benchmarks)
