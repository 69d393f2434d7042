"""What the tests of this package share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from enclave_broker_sqlite.config import SqliteConfig

Configure = Callable[..., SqliteConfig]
"""Makes the configuration of the test's file, with the settings given."""

HOLD = """
import sys, anyio
from enclave_broker_sqlite.config import FileConfig
from enclave_broker_sqlite.file import open_file
async def main():
    async with open_file(FileConfig(path=sys.argv[1])):
        print("open", flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


@contextmanager
def another_process(path: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the file open, until it is killed."""
    program = [sys.executable, "-c", HOLD, path]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            yield process
        finally:
            process.kill()


def size_of(path: str) -> int:
    return Path(path).stat().st_size


def content_of(path: str) -> bytes | None:
    """None for a directory."""
    return None if Path(path).is_dir() else Path(path).read_bytes()


def mode_of(path: str) -> int:
    return Path(path).stat().st_mode & 0o777


def permit(path: str, mode: int) -> None:
    Path(path).chmod(mode)
