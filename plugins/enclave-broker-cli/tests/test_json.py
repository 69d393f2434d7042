"""``--json``: one document on stdout, whatever becomes of the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = [sys.executable, "-m", "enclave_broker_cli"]


def test_every_command_has_it(find_commands: Callable[[], dict[str, Any]]) -> None:
    commands = find_commands()
    assert {"run", "config show", "greet"} <= set(commands)
    without = [
        words
        for words, command in commands.items()
        if not any("--json" in param.opts for param in command.params)
        # What only has commands below it can't be run by itself.
        and (not words or not hasattr(command, "list_commands"))
    ]
    assert without == []


def document(done: subprocess.CompletedProcess[str]) -> Any:
    """The only document on stdout."""
    assert done.stdout.endswith("\n")
    (line,) = done.stdout.splitlines()
    return json.loads(line)


@pytest.mark.parametrize(
    "arguments",
    [
        ["tools"],
        ["tools", "users:get"],
        ["tools", "--format", "mcp"],
        ["call", "users:get", '{"id": 1}'],
        ["explain", "users:get"],
        ["plugins"],
        ["config", "show"],
        ["config", "schema"],
    ],
    ids=" ".join,
)
def test_a_command_prints_one_document(program: Program, arguments: list[str]) -> None:
    done = program(*arguments, "--json")
    assert document(done)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("arguments", [["call", "users:get", '{"id": 1}'], ["config", "show"]])
def test_it_may_stand_before_the_command(program: Program, arguments: list[str]) -> None:
    assert program("--json", *arguments).stdout == program(*arguments, "--json").stdout


def test_what_some_documents_hold(program: Program) -> None:
    for arguments in (["--version", "--json"], ["--json", "--version"]):
        assert document(program(*arguments)) == {
            "enclave-broker-cli": "0.1.0",
            "enclave-broker-core": "0.1.0",
        }
    script = program("completion", "bash")
    assert document(program("completion", "bash", "--json")) == {
        "shell": "bash",
        "script": script.stdout,
    }
    assert document(program("check", "--json")) == {"ok": True, "problems": []}


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["call", "users:get", "{}"], "VALIDATION_ERROR", 1),
        (["call", "admin:reset"], "ACCESS_DENIED", 1),
        (["call", "never:awaited", "--timeout", "0.5"], "SESSION_EXPIRED", 3),
        (["call", "x", "--config", "none.toml"], "CONFIG_ERROR", 2),
        (["run", "-", "--config", "none.toml"], "CONFIG_ERROR", 2),
        (["run", "-", "--runtime", "other"], "RUNTIME_ERROR", 1),
        (["tools", "nope"], "UNKNOWN_TOOL", 1),
        (["tools", "--config", "none.toml"], "CONFIG_ERROR", 2),
        (["explain", "x", "--config", "none.toml"], "CONFIG_ERROR", 2),
        (["plugins", "--config", "none.toml"], "CONFIG_ERROR", 2),
        (["check", "--config", "none.toml"], "CONFIG_ERROR", 2),
        (["config", "show", "--config", "none.toml"], "CONFIG_ERROR", 2),
        (["config", "schema", "--config", "none.toml"], "CONFIG_ERROR", 2),
        (["--config", "none.toml", "greet", "Ada"], "CONFIG_ERROR", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_error_is_a_document_too(
    program: Program, arguments: list[str], code: str, exit_code: int
) -> None:
    done = program(*arguments, "--json")
    error = document(done)["error"]
    assert (error["code"], done.returncode) == (code, exit_code)
    assert done.stderr == f"{code}: {error['message']}\n"


def test_an_error_has_its_details_and_is_told_people_as_ever(program: Program) -> None:
    done = program("call", "--json", "users:get", "{}")
    assert document(done)["error"]["details"] == [
        {"type": "validation_info", "field": "id", "reason": "Field required"}
    ]
    plain = program("call", "users:get", "{}")
    assert (plain.stdout, plain.stderr, plain.returncode) == ("", done.stderr, done.returncode)


def test_a_run_that_fails_says_so_in_its_last_event(program: Program) -> None:
    done = program("run", "--json", "-", stdin='raise ValueError("no")')
    *_, final = map(json.loads, done.stdout.splitlines())
    assert (final["type"], final["payload"]["error"]["code"]) == ("final", "RUNTIME_ERROR")
    assert done.stderr.startswith("RUNTIME_ERROR: ")
    assert done.returncode == 1


def test_what_a_plugins_command_raises(program: Program, place: Path) -> None:
    plugin = (place / "greetings.py").read_text()
    broken = plugin.replace("print(f", "raise ValueError(f")
    assert broken != plugin
    (place / "greetings.py").write_text(broken)
    done = program("greet", "Ada", "--json")
    assert document(done)["error"] == {
        "code": "INTERNAL_ERROR",
        "message": "ValueError; the traceback is on stderr",
    }
    assert done.stderr.rstrip().endswith("ValueError: hello Ada, broker.toml")
    assert done.returncode == 1


def test_a_mistake_in_the_usage_is_told_on_stderr_only(program: Program) -> None:
    done = program("call", "--json")
    assert (done.stdout, done.returncode) == ("", 2)
    assert "Missing argument" in done.stderr


def test_it_is_utf_8_whatever_the_terminal_has(
    program: Program, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (place / "tools.py").write_text(
        "from enclave_broker_core import tool\n\n\n"
        "@tool('echo')\nasync def echo(text: str) -> str:\n    return text\n"
    )
    done = subprocess.run(
        [*PROGRAM, "call", "echo", json.dumps({"text": "Zoë"}), "--json"],
        capture_output=True,
        env={**os.environ, "NO_COLOR": "1"},
        timeout=60,
        check=True,
    )
    assert done.stdout == '"Zoë"\n'.encode()
