"""The demo as a newcomer runs it, and whether what it says is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json

ROOT = Path(__file__).parents[1]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed_by() -> dict[str, list[str]]:
    """Each installed distribution with those that need it, found without any broker."""
    installed = {normal(dist.name): dist for dist in metadata.distributions()}
    found: dict[str, list[str]] = {name: [] for name in sorted(installed)}
    for name in sorted(installed):
        for line in metadata.distribution(name).requires or []:
            need = normal(re.split(r"[^\w.-]", line, maxsplit=1)[0])
            if "extra ==" not in line and need in found and name not in found[need]:
                found[need].append(name)
    return found


@pytest.fixture(scope="module")
def printed() -> str:
    done = subprocess.run(
        [sys.executable, "examples/demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


@pytest.fixture(scope="module")
def answer(printed: str) -> dict[str, Any]:
    whole: dict[str, Any] = from_json(printed.partition("The answer\n")[2])
    return whole


def test_it_finds_the_distribution_that_most_others_need(answer: dict[str, Any]) -> None:
    needed = needed_by()
    most = max(needed, key=lambda name: len(needed[name]))
    assert (answer["most_needed"], answer["needed_by"]) == (most, needed[most])


def test_it_finds_the_largest_files(answer: dict[str, Any]) -> None:
    sizes = sorted(
        (
            Path(str(file.locate())).stat().st_size
            for dist in metadata.distributions()
            for file in dist.files or []
            if Path(str(file.locate())).is_file()
        ),
        reverse=True,
    )
    assert [file["bytes"] for file in answer["largest_files"]] == sizes[:3]
    assert all(len(file["sha256"]) == 64 for file in answer["largest_files"])


def test_it_shows_the_events_with_a_refused_and_a_limited_call(printed: str) -> None:
    lines = printed.splitlines()
    assert lines[1].endswith("session_init")
    (refused,) = [line for line in lines if "error     dist:remove: ACCESS_DENIED" in line]
    (limited,) = [line for line in lines if "error     disk:digest: RATE_LIMITED" in line]
    (waits,) = [line for line in lines if "too many digests at once: waiting" in line]
    digests = [line for line in lines if "result    disk:digest" in line]
    assert len(digests) == 3
    # The third one went through only after the wait.
    order = [lines.index(line) for line in (refused, limited, waits, digests[-1])]
    assert order == sorted(order)
    assert "final     ok: True" in printed


def test_it_ends_with_the_history(printed: str) -> None:
    table = printed.partition("The history\n")[2].partition("\n\nThe answer")[0].splitlines()
    assert table[0].split() == ["call", "tool", "outcome", "code", "ms"]
    rows = [line.split() for line in table[1:]]
    assert len({row[0] for row in rows}) == len(rows)
    assert sorted(row[3] for row in rows if row[2] == "refused") == [
        "ACCESS_DENIED",
        "RATE_LIMITED",
    ]
    started = [line.split()[3] for line in printed.splitlines() if " s  calls     " in line]
    assert sorted(row[1] for row in rows) == sorted(started)
