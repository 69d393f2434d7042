"""The other commands, and the program itself, as a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., subprocess.CompletedProcess[str]]

# call


def test_call_prints_the_result(program: Program) -> None:
    done = program("call", "users:get", '{"id": 3}')
    assert (json.loads(done.stdout), done.stderr, done.returncode) == ({"id": 3}, "", 0)
    assert program("call", "--json", "users:get", "-", stdin='{"id": 3}').stdout == '{"id":3}\n'


@pytest.mark.parametrize(
    ("arguments", "error", "exit_code"),
    [
        (["users:get", '{"id": "x"}'], "VALIDATION_ERROR", 1),
        (["users:gte"], "UNKNOWN_TOOL", 1),
        (["admin:reset"], "ACCESS_DENIED", 1),
        (["never:awaited", "--timeout", "0.5"], "SESSION_EXPIRED", 3),
    ],
)
def test_call_says_what_is_wrong(
    program: Program, arguments: list[str], error: str, exit_code: int
) -> None:
    done = program("call", *arguments)
    assert done.stderr.startswith(f"{error}: ")
    assert (done.stdout, done.returncode) == ("", exit_code)


@pytest.mark.parametrize("arguments", [["users:get", "{"], ["users:get", "[1]"], []])
def test_call_used_wrongly(program: Program, arguments: list[str]) -> None:
    done = program("call", *arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr


# tools, plugins, check


def test_tools_are_those_of_the_caller(program: Program) -> None:
    listed = json.loads(program("tools", "--json").stdout)
    assert [tool["name"] for tool in listed] == [
        *("users:get", "rare:one", "never:awaited", "never:threaded")
    ]
    as_admin = json.loads(
        program("tools", "--json", "--principal", "ada", "--role", "admin").stdout
    )
    assert "admin:reset" in [tool["name"] for tool in as_admin]


def test_tools_as_a_table_and_one_tool(program: Program) -> None:
    lines = program("tools", "--allow", "users:*").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["tool", "what", "it", "does", "from"],
        ["users:get", "Look", "a", "user", "up", "by", "id.", "python"],
    ]
    one = program("tools", "users:get")
    assert "More about it." in one.stdout
    assert '"required": [\n    "id"\n  ]' in one.stdout
    assert json.loads(program("tools", "users:get", "--json").stdout)["input_schema"][
        "required"
    ] == ["id"]


def test_a_tool_that_there_is_not(program: Program) -> None:
    done = program("tools", "nope")
    assert (done.returncode, done.stderr) == (1, "UNKNOWN_TOOL: there is no tool named 'nope'\n")


def test_plugins_are_listed_with_their_state(program: Program, place: Path) -> None:
    (place / "broker.toml").write_text('plugins = ["memory"]\n')
    found = {item["name"]: item for item in json.loads(program("plugins", "--json").stdout)}
    assert found["memory"]["distribution"] == "enclave-broker-memory"
    assert found["memory"]["parts"] == {"store": ["memory"], "limiter": ["memory"]}
    assert (found["memory"]["state"], found["monty"]["state"]) == ("loaded", "not allowed")
    row = next(line for line in program("plugins").stdout.splitlines() if line.startswith("memory"))
    assert row.split() == [
        "memory",
        "enclave-broker-memory",
        "0.1.0",
        "store,",
        "limiter",
        "loaded",
    ]


def test_check_reports_all_mistakes_with_their_places(program: Program, place: Path) -> None:
    assert program("check").stdout == "broker.toml: all is well\n"
    (place / "broker.toml").write_text('[store]\nuse = "memroy"\n\n[limits]\ntimeout = -1\n')
    done = program("check")
    first, second = done.stderr.splitlines()
    assert first.startswith("broker.toml:2: store.use: ")
    assert "memory" in first
    assert second.startswith("broker.toml:5: limits.timeout: ")
    assert done.returncode == 2
    assert json.loads(program("check", "--json").stdout) == {
        "ok": False,
        "problems": [first, second],
    }


def test_tools_as_an_api_takes_them(program: Program) -> None:
    done = program("tools", "--allow", "users:*", "--format", "openai", "--json")
    (tool,) = json.loads(done.stdout)
    assert (tool["type"], tool["function"]["name"]) == ("function", "users_get")
    assert tool["function"]["description"] == "Look a user up by id.\n\nMore about it."
    assert tool["function"]["parameters"]["required"] == ["id"]
    assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", 0)
    (one,) = json.loads(program("tools", "rare:one", "--format", "mcp").stdout)
    assert (one["name"], one["title"]) == ("rare_one", "rare:one")
    wrong = program("tools", "--format", "gemini")
    assert wrong.returncode == 2
    assert "there is no format 'gemini'" in wrong.stderr


# the program


def test_the_configuration_is_looked_for(
    program: Program, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "broker.toml").rename(place / "other.toml")
    assert json.loads(program("tools", "--json").stdout) == []
    for arguments in (["tools", "--config", "other.toml"], ["--config", "other.toml", "tools"]):
        assert "users:get" in program(*arguments).stdout
    monkeypatch.setenv("ENCLAVE_BROKER_CONFIG", "other.toml")
    assert "users:get" in program("tools").stdout
    missing = program("tools", "--config", "missing.toml")
    assert "there is no configuration file missing.toml" in missing.stderr
    assert missing.returncode == 2


def test_without_a_runtime_it_says_what_to_install(program: Program, place: Path) -> None:
    (place / "broker.toml").unlink()
    done = program("run", "-", stdin="1")
    assert "enclave-broker-monty" in done.stderr
    assert done.returncode == 2


def test_commands_of_plugins(program: Program) -> None:
    shown = program("--help")
    assert "Greet somebody." in shown.stdout
    assert "Run an agent's code" in shown.stdout
    done = program("--config", "broker.toml", "greet", "Ada")
    assert (done.stdout, done.returncode) == ("hello Ada, broker.toml\n", 0)


def test_a_command_of_a_plugin_may_stand_below_another(program: Program) -> None:
    done = program("--config", "broker.toml", "tools", "greet", "Ada")
    assert (done.stdout, done.returncode) == ("hello Ada, broker.toml\n", 0)
    assert "Greet a tool." in program("tools", "greet", "--help").stdout
    assert "Look a user up" in program("tools", "users:get").stdout
    assert program("tools", "greetings").stderr.startswith("UNKNOWN_TOOL: ")


def test_a_plugin_that_fails_does_not_hide_the_help(program: Program, place: Path) -> None:
    (place / "greetings.py").write_text("raise RuntimeError('broken')")
    done = program("--help")
    assert "Run an agent's code" in done.stdout
    assert done.returncode == 0


def test_version_and_a_command_that_there_is_not(program: Program) -> None:
    assert program("--version").stdout.startswith("enclave-broker-cli 0.1.0\n")
    done = program("fly")
    assert done.returncode == 2
    assert "No such command" in done.stderr
