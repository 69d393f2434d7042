"""SIGHUP, seen from outside: the real program reads its configuration again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from enclave_broker_core.events import Event

SECONDS = 30
UNTIL_IT_MAY = """
import asyncio

answer = None
while answer is None:
    try:
        answer = await call_tool("admin:reset")
    except ToolError:
        await asyncio.sleep(0.02)
answer
"""


@pytest.fixture
def running(place: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "enclave_broker_cli", "run", "--json", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(UNTIL_IT_MAY)
        process.stdin.flush()
        process.stdin.close()
        process.stdin = None  # or communicate() would write to it
        try:
            yield process
        finally:
            process.kill()


def refused_once(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if Event.from_json(line).payload.get("code") == "ACCESS_DENIED":
            return
    pytest.fail("no call was refused")


def test_the_calls_to_come_pass_the_new_rules(running: subprocess.Popen[str], place: Path) -> None:
    config = (place / "broker.toml").read_text()
    refused_once(running)
    (place / "broker.toml").write_text(config.replace("allow = false", "allow = true"))
    running.send_signal(signal.SIGHUP)
    output, errors = running.communicate(timeout=SECONDS)
    final = Event.from_json(output.splitlines()[-1])
    assert (final.type, final.payload["result"]) == ("final", "done")
    assert "the configuration was read again" in errors
    assert running.returncode == 0


def test_a_configuration_with_a_mistake_changes_nothing(
    running: subprocess.Popen[str], place: Path
) -> None:
    config = (place / "broker.toml").read_text()
    refused_once(running)
    (place / "broker.toml").write_text(config + "\n[limits]\ntimeuot = 1\n")
    running.send_signal(signal.SIGHUP)
    assert running.stderr is not None
    said = running.stderr.readline()
    assert "the configuration stays as it was" in said
    assert "timeuot" in said
    refused_once(running)
    running.send_signal(signal.SIGTERM)
    output, _ = running.communicate(timeout=SECONDS)
    assert Event.from_json(output.splitlines()[-1]).payload["error"]["code"] == "SESSION_CANCELLED"
