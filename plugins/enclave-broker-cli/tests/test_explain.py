"""``enclave-broker explain``, as a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., subprocess.CompletedProcess[str]]


def test_one_line_for_each_fact(program: Program) -> None:
    done = program("explain", "rare:one", "--role", "admin", "--allow", "rare:*", "--args", "{}")
    assert done.stdout == (
        "call        allowed\n"
        "tool        rare:one\n"
        "route       exact\n"
        "access      allowed_tools: allow\n"
        "access      AccessController: allow by default (no rule matches)\n"
        "window      tool rare:*: 1 left of 1 calls in 3600 s\n"
        "arguments   valid\n"
        "deadline    3600 s (session)\n"
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_what_would_be_refused(program: Program) -> None:
    done = program("explain", "users:get", "--args", "-", stdin='{"id": "x\\u001b[31m"}')
    lines = done.stdout.splitlines()
    assert lines[0].startswith("call        refused: VALIDATION_ERROR: ")
    assert "arguments   id: Input should be a valid integer" in done.stdout
    assert done.returncode == 3
    unknown = program("explain", "users:gte")
    assert unknown.stdout.splitlines() == [
        "call        refused: UNKNOWN_TOOL: there is no tool named 'users:gte'",
        "tool        none; near are users:get",
    ]
    assert unknown.returncode == 3


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ([], False),
        (["--role", "user"], False),
        (["--tenant", "t"], False),
        (["--role", "admin"], True),
        (["--id", "ada", "--role", "user", "--role", "admin"], True),
        (["--principal", "ada", "--role", "admin", "--allow", "users:*"], False),
    ],
)
def test_who_calls_decides(program: Program, arguments: list[str], allowed: bool) -> None:
    done = program("explain", "admin_reset", "--json", *arguments)
    found = json.loads(done.stdout)
    assert (found["allowed"], found["tool"]) == (allowed, "admin:reset")
    assert done.returncode == (0 if allowed else 3)
    assert found["decisions"][-1]["rule"] == "rules[0] admin:*"


def test_a_pattern_middleware_secrets_and_calls_left(program: Program, place: Path) -> None:
    (place / "tools.py").write_text(
        "from enclave_broker_core import tool\n"
        "@tool('db:*', timeout=2, secrets=['PATH', 'NO_SUCH_SECRET'])\n"
        "async def database(name, args): ...\n"
    )
    with (place / "broker.toml").open("a") as file:
        file.write('[[middleware]]\nuse = "logging"\n\n[limits]\nmax_tool_calls = 4\n')
    done = program("explain", "db:query")
    assert done.stdout.splitlines() == [
        "call        refused: SECRET_ERROR: no secret source knows 'NO_SUCH_SECRET'",
        "tool        db:query",
        "route       pattern db:*",
        "access      AccessController: allow by default (no rule matches)",
        "middleware  1. LoggingMiddleware",
        "deadline    2 s (tool)",
        "secret      PATH: known",
        "secret      NO_SUCH_SECRET: no source knows it",
        "calls left  4",
    ]


@pytest.mark.parametrize(
    "arguments", [["users:get", "--args", "{"], ["users:get", "--args", "[1]"], []]
)
def test_used_wrongly(program: Program, arguments: list[str]) -> None:
    done = program("explain", *arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr


def test_a_malformed_pattern_is_an_error(program: Program) -> None:
    done = program("explain", "users:get", "--allow", "[a")
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.startswith("VALIDATION_ERROR: allowed_tools: ")
