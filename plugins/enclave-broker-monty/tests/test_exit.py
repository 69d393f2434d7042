"""An interpreter that used the runtime ends cleanly, every time.

A thread that comes back from the sandbox while the interpreter ends would abort it: so the
runtime waits for its threads.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("one_session.py")


def _return_codes(count: int) -> list[int]:
    def life(_: int) -> int:
        return subprocess.run([sys.executable, str(SCRIPT)], timeout=60, check=False).returncode

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(life, range(count)))


def test_ten_interpreters_exit_cleanly() -> None:
    assert _return_codes(10) == [0] * 10


@pytest.mark.soak
def test_a_hundred_interpreters_exit_cleanly() -> None:
    assert _return_codes(100) == [0] * 100
