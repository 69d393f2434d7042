"""``enclave-broker run`` as a process of its own, with the real store and sandbox."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from enclave_broker_core.events import Event

Program = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = [sys.executable, "-m", "enclave_broker_cli"]
SECONDS = 60


def events_of(output: str) -> list[Event]:
    return [Event.from_json(line) for line in output.splitlines()]


def test_run_shows_what_happens_as_it_happens(program: Program) -> None:
    done = program("run", "-", stdin='print("one\\ntwo")\nawait call_tool("users:get", {"id": 7})')
    assert done.stdout == 'one\ntwo\n{\n  "id": 7\n}\n'
    kinds = [line.split()[1:3] for line in done.stderr.splitlines()]
    assert [kind[0] for kind in kinds] == ["session", "call", "result", "final"]
    assert kinds[1:3] == [["call", "users:get"], ["result", "users:get"]]
    assert done.stderr.splitlines()[1].endswith('{"id":7}')
    assert done.returncode == 0


def test_run_takes_a_file_and_quiet_shows_only_its_output(program: Program, place: Path) -> None:
    (place / "code.py").write_text('print("only this")')
    done = program("run", "--quiet", "code.py")
    assert (done.stdout, done.stderr, done.returncode) == ("only this\n", "", 0)


def test_run_json_is_the_events_and_nothing_else(program: Program) -> None:
    done = program("run", "--json", "-", stdin='await call_tool("users:get", {"id": 7})')
    events = events_of(done.stdout)
    assert [event.to_json().decode() for event in events] == done.stdout.splitlines()
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert events[-1].payload["result"] == {"id": 7}
    assert done.stderr == ""


def test_run_shows_control_characters_of_tools_harmless(program: Program) -> None:
    done = program("run", "-", stdin='await call_tool("none:\\x1b[2J", {})')
    assert "\x1b" not in done.stderr
    assert "none:\\x1b[2J" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("code", "options", "error", "exit_code"),
    [
        ("1 / 0", [], "RUNTIME_ERROR", 1),
        ('await call_tool("users:get", {"id": "x"})', [], "RUNTIME_ERROR", 1),
        ('await call_tool("never:awaited")', ["--timeout", "0.5"], "SESSION_EXPIRED", 3),
        ('await call_tool("never:awaited")', ["--run-timeout", "0.5"], "DEADLINE_EXCEEDED", 3),
    ],
)
def test_run_leaves_with_the_code_of_its_outcome(
    program: Program, code: str, options: list[str], error: str, exit_code: int
) -> None:
    done = program("run", "--json", *options, "-", stdin=code)
    final = events_of(done.stdout)[-1]
    assert (final.type, final.payload["error"]["code"]) == ("final", error)
    assert done.returncode == exit_code


def test_run_says_who_calls_and_what_may_be_called(program: Program) -> None:
    code = '[await call_tool("admin:reset")]'
    assert program("run", "-q", "-", stdin=code).returncode == 1
    as_admin = ["--principal", "ada", "--role", "admin"]
    assert json.loads(program("run", "-q", *as_admin, "-", stdin=code).stdout) == ["done"]
    refused = program("run", "-q", *as_admin, "--allow", "users:*", "-", stdin=code)
    assert "ACCESS_DENIED" in refused.stderr
    assert refused.returncode == 1


def test_run_counts_attempts(program: Program) -> None:
    code = 'for n in range(3):\n    await call_tool("users:get", {"id": n})'
    done = program("run", "--json", "--max-tool-calls", "2", "-", stdin=code)
    codes = [
        event.payload.get("code")
        for event in events_of(done.stdout)
        if event.type == "tool_result_applied"
    ]
    assert codes == [None, None, "MAX_TOOL_CALLS"]


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_session(number: signal.Signals, exit_code: int) -> None:
    with subprocess.Popen(
        [*PROGRAM, "run", "--json", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write('await call_tool("never:awaited")')
        process.stdin.close()
        for line in process.stdout:
            if Event.from_json(line).type == "tool_call":
                break
        process.send_signal(number)
        *_, applied, final = events_of(process.stdout.read())
        assert applied.payload["code"] == "SESSION_CANCELLED"
        assert final.payload["error"] == {
            "code": "SESSION_CANCELLED",
            "message": f"interrupted by {number.name}",
        }
        assert process.wait(SECONDS) == exit_code


def test_a_thread_that_refuses_to_end_is_left_behind(program: Program) -> None:
    done = program(
        "run", "--json", "--timeout", "0.5", "-", stdin='await call_tool("never:threaded")'
    )
    assert events_of(done.stdout)[-1].payload["error"]["code"] == "SESSION_EXPIRED"
    assert "a handler does not end; leaving without waiting" in done.stderr
    assert done.returncode == 3


def test_run_ends_when_nobody_reads() -> None:
    # Much more than a pipe holds.
    code = 'for n in range(200):\n    print("x" * 1000)\nawait call_tool("never:awaited")'
    with subprocess.Popen(
        [*PROGRAM, "run", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(code.encode())
        process.stdin.close()
        assert process.stdout.readline() == b"x" * 1000 + b"\n"
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(SECONDS) == 141
