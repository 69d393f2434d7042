"""SIGTERM, seen from outside: what runs may go on for a while, and each stream has its end."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

CONFIG = """
[access]
default = "allow"
[runtime]
use = "monty"
workers = 1
[[tools]]
use = "python"
module = "tools.py"
[server]
drain_timeout = %s
"""
TOOLS = """
from pathlib import Path
import anyio
from enclave_broker_core import tool

@tool("gate")
async def gate() -> str:
    while not Path("open").exists():
        await anyio.sleep(0.01)
    return "let through"
"""
CODE = {"code": "await call_tool('gate')"}
NDJSON = {"Accept": "application/x-ndjson"}
STOPPED = {"code": "SESSION_CANCELLED", "message": "the server is stopping"}
PATIENCE = 30.0


class Streamed:
    """A session's events, read by a thread as they come."""

    def __init__(self, url: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.whole = False
        self._thread = threading.Thread(target=self._read, args=(url,))

    def _read(self, url: str) -> None:
        with httpx.stream("POST", f"{url}/sessions", json=CODE, headers=NDJSON, timeout=60) as got:
            for line in got.iter_lines():
                self.events.append(json.loads(line))
        # A connection that breaks off would have raised.
        self.whole = True

    def final(self) -> dict[str, Any]:
        """What the final event says, when the stream has come to its end."""
        self._thread.join(PATIENCE)
        assert self.whole
        assert [event["type"] for event in self.events].count("final") == 1
        payload: dict[str, Any] = self.events[-1]["payload"]
        return payload

    @classmethod
    @contextmanager
    def of(cls, url: str) -> Iterator[Streamed]:
        """One whose session is in the middle of a call."""
        streamed = cls(url)
        streamed._thread.start()
        try:
            until(lambda: any(event["type"] == "tool_call" for event in streamed.events))
            yield streamed
        finally:
            streamed._thread.join(PATIENCE)


def test_what_runs_goes_on_and_nothing_new_is_taken(started_anew: Any) -> None:
    with (
        started_anew(config=CONFIG % 600, tools=TOOLS) as it,
        Streamed.of(it.url) as streamed,
        httpx.Client(base_url=it.url) as client,
    ):
        assert client.get("/ready").status_code == 200
        it.tell(signal.SIGTERM)
        until(lambda: client.get("/ready").status_code == 503)
        assert client.get("/health").status_code == 200
        refused = client.post("/sessions", json={}, headers={"Accept": "application/json"})
        assert refused.status_code == 503
        assert refused.json() == {
            "code": "SERVICE_UNAVAILABLE",
            "message": "the server is stopping",
        }
        assert int(refused.headers["retry-after"]) > 0
        as_event = client.post("/sessions", json=CODE, headers=NDJSON)
        assert (as_event.status_code, as_event.headers["x-refused"]) == (200, "503")
        assert json.loads(as_event.text)["payload"]["ok"] is False
        (it.place / "open").touch()
        final = streamed.final()
        assert (final["ok"], final["result"]) == (True, "let through")
        # A connection that is kept alive does not hold it up.
        assert it.code() == 0


def test_what_is_left_is_ended_and_told_why(started: Any) -> None:
    with started(config=CONFIG % 0.5, tools=TOOLS) as it, Streamed.of(it.url) as streamed:
        open_session = httpx.post(f"{it.url}/sessions", json={})
        assert open_session.status_code == 201
        assert it.stop() == 0
        final = streamed.final()
        assert (final["ok"], final["error"]) == (False, STOPPED)
        assert "stopping: 2 sessions may go on for 0.5 s" in it.stderr
        assert "Traceback" not in it.stderr


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_the_wait_short(started: Any, first: signal.Signals) -> None:
    with started(config=CONFIG % 600, tools=TOOLS) as it, Streamed.of(it.url) as streamed:
        it.tell(first)
        until(lambda: httpx.get(f"{it.url}/ready").status_code == 503)
        it.tell(signal.SIGINT)
        assert streamed.final()["error"] == STOPPED
        assert it.code() == 0


def test_with_nothing_to_wait_for_it_ends_at_once(started: Any) -> None:
    with started(config=CONFIG % 600, tools=TOOLS) as it, httpx.Client() as client:
        assert client.get(f"{it.url}/ready").status_code == 200
        assert it.stop() == 0
        assert "stopping" not in it.stderr


def test_a_client_that_reads_nothing_does_not_hold_it_up(started: Any) -> None:
    with (
        started(config=CONFIG % 0.2, tools=TOOLS) as it,
        httpx.Client(base_url=it.url) as client,
        client.stream("POST", "/sessions", json=CODE, headers=NDJSON) as got,
    ):
        assert got.status_code == 200
        assert it.stop() == 0


def until(true: Callable[[], bool]) -> None:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
