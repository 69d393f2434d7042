"""Files for the tests, and when nothing more happens with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from enclave_broker_sqlite.config import SqliteConfig
from enclave_broker_sqlite.file import SqliteFile
from sqlite_files import Configure

from enclave_broker_core.testing import session_claimants, session_readers


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """The configuration of this test's file, with other settings besides."""

    def configured(**settings: Any) -> SqliteConfig:
        return SqliteConfig(path=str(tmp_path / "broker.db"), wait=0.0, **settings)

    return configured


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[SqliteFile]:
    """The files of a suite's test: who waits for one of them is not blocked yet.

    The suites wait until all tasks are blocked, to have what happens in the test's process
    behind them; a task that waits for a commit goes on by itself.
    """
    files: list[SqliteFile] = []
    blocked = anyio.wait_all_tasks_blocked

    async def settled() -> None:
        await blocked()
        while not all(file.idle for file in files):
            await anyio.sleep(0.001)
            await blocked()

    for module in (session_claimants, session_readers):
        monkeypatch.setattr(module, "wait_all_tasks_blocked", settled)
    return files
