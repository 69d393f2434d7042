"""``enclave-broker serve --workers``: several processes on one port, and who looks after them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from enclave_broker_server.api_keys import hash_of, new_key

CONFIG = """
plugins = ["memory", "server", "./shared.py"]
[store]
use = "pretended"
[access]
default = "allow"
[[tools]]
use = "python"
module = "tools.py"
[server]
drain_timeout = 0.2
"""
# It is not shared, but says so: here each session stays on one connection, so with one worker.
SHARED = """
from contextlib import asynccontextmanager
from enclave_broker_core import Component, hookimpl
from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.store import MemoryStore

class Pretended(MemoryStore):
    shared = True

@asynccontextmanager
async def open_store(config, context):
    yield Pretended(config)

@hookimpl
def enclave_session_stores():
    return [Component("pretended", open_store, MemoryStoreConfig)]
"""
TOOLS = """
import os
from enclave_broker_core import tool

@tool("pid")
def pid() -> int:
    return os.getpid()
"""
KEYS = """
[[authenticators]]
use = "api_keys"
keys = [{ hash = "%s", id = "ada" }]
"""
PATIENCE = 60.0
WORKERS = ("--workers", "2")


def worker(url: str) -> int | None:
    """The process that a new connection comes to; None when it breaks off."""
    try:
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            session = client.post("/sessions", json={}).json()["sessionId"]
            called = client.post(f"/sessions/{session}/tool-calls", json={"name": "pid"})
            return int(called.json()["data"])
    except httpx.TransportError:
        return None


def workers(url: str, *, but: int = 0) -> set[int]:
    """The two processes that answer."""
    found: set[int] = set()

    def both() -> bool:
        pid = worker(url)
        found.update({pid} - {None, but})
        return len(found) == 2

    until(both)
    return found


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def until(true: Callable[[], bool]) -> None:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_they_share_a_port_are_replaced_and_stop_together(started_anew: Any) -> None:
    with started_anew(*WORKERS, config=CONFIG, shared=SHARED, tools=TOOLS) as it:
        assert it.said["workers"] == 2
        first = workers(it.url)
        assert it.process.pid not in first
        killed = min(first)
        os.kill(killed, signal.SIGKILL)
        until(lambda: f"a worker ended with {-signal.SIGKILL}" in it.stderr)
        second = workers(it.url, but=killed)
        assert first - {killed} < second
        assert it.stop() == 0
        assert [pid for pid in second if not gone(pid)] == []
        assert it.stderr.count("listening on") == 1
        assert "Traceback" not in it.stderr


def test_a_hangup_reaches_all_and_none_outlives_who_started_them(started: Any) -> None:
    with started(*WORKERS, config=CONFIG, shared=SHARED, tools=TOOLS) as it:
        it.tell(signal.SIGHUP)
        until(lambda: it.stderr.count("the configuration was read again") == 2)
        pids = workers(it.url)
        it.tell(signal.SIGKILL)
        assert it.code() == -signal.SIGKILL
        until(lambda: all(map(gone, pids)))


def test_when_one_can_not_start_all_end(started: Any) -> None:
    # The first process has found nothing wrong.
    broken = SHARED + (
        "\nimport os, sys\nif 'worker' in sys.argv[0]:\n    raise OSError('not in a worker')\n"
    )
    with started(*WORKERS, config=CONFIG, shared=broken, tools=TOOLS) as it:
        assert it.said == {}
        assert it.code() == 2
        assert "PLUGIN_ERROR: plugin './shared.py'" in it.stderr
        assert "not in a worker" in it.stderr


def test_one_that_is_started_again_lets_nobody_in_whom_the_first_did_not(started: Any) -> None:
    key = new_key()
    config = CONFIG + KEYS % hash_of(key)
    with started(*WORKERS, "--host", "0.0.0.0", config=config, shared=SHARED, tools=TOOLS) as it:
        url = f"http://127.0.0.1:{it.said['port']}"
        assert httpx.get(f"{url}/tools").status_code == 401
        (it.place / "broker.toml").write_text(CONFIG)
        children = Path(f"/proc/{it.process.pid}/task/{it.process.pid}/children")
        if not children.exists():
            pytest.skip("the processes of a process are read from /proc, which is not there")
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        until(lambda: "without [[authenticators]]" in it.stderr)
        assert httpx.get(f"{url}/tools").status_code == 401
        (it.place / "broker.toml").write_text(config)
        until(lambda: len(children.read_text().split()) == 2)
        assert it.stop() == 0
