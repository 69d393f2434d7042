"""What the program answers to the scripts that complete the command line."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_program import ForkedProgram

Program = Callable[..., subprocess.CompletedProcess[str]]
TOOLS = ["users:get", "admin:reset", "rare:one", "never:awaited", "never:threaded"]
FORMATS = ["openai", "openai-responses", "anthropic", "mcp"]

# Text that is no completion, from where programs print it.
NOISE = """
import os, subprocess, sys

print("printed")
print("printed", file=sys.stderr)
os.write(1, b"written")
subprocess.run(["echo", "by another program"])
"""

OPENS = """
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel

from enclave_broker_core import Component, hookimpl


class Nothing(BaseModel):
    pass


@asynccontextmanager
async def opened(config, context):
    Path("opened").touch()
    yield None


@hookimpl
def enclave_session_stores():
    return [Component("opens", opened, Nothing)]


@hookimpl
def enclave_runtimes():
    return [Component("opens", opened, Nothing)]
"""


Completed = Callable[[str], list[tuple[str, str]]]
Names = Callable[[str], list[str]]


@pytest.fixture
def completed(forked: ForkedProgram) -> Completed:
    """What a line may go on with, each with its description, as our scripts ask."""

    def ask(line: str) -> list[tuple[str, str]]:
        variables = {
            "_ENCLAVE_BROKER_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_ARGS": f"enclave-broker {line}",
        }
        done = forked.run([], {**os.environ, **variables})
        assert done.stderr == ""
        found = [line.partition("\t") for line in done.stdout.splitlines() if line]
        return [(name, said) for name, _, said in found]

    return ask


@pytest.fixture
def names(completed: Completed) -> Names:
    return lambda line: [name for name, _ in completed(line)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("c", ["call", "check", "completion", "config"]),
        ("gre", ["greet"]),
        ("config ", ["show", "schema"]),
        ("call ", TOOLS),
        ("explain never", ["never:awaited", "never:threaded"]),
        ("tools users:", ["users:get"]),
        ("run --allow adm", ["admin:reset"]),
        ("run --runtime ", ["monty"]),
        ("tools --format ", FORMATS),
        ("tools --format=open", ["openai", "openai-responses"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("check --", ["--config", "--json", "--help"]),
        ("greet --", ["--json", "--help"]),
        ("run ", []),
        ("--version --js", ["--json"]),
    ],
)
def test_a_line_goes_on(names: Names, line: str, expected: list[str]) -> None:
    assert names(line) == expected


def test_each_has_its_description_on_its_line(completed: Completed, place: Path) -> None:
    assert completed("call users") == [("users:get", "Look a user up by id.")]
    assert completed("gre") == [("greet", "Greet somebody.")]
    (said,) = (said for name, said in completed("call --") if name == "--config")
    assert said.endswith("else broker.toml if there is one.")
    with (place / "tools.py").open("a") as tools:
        tools.write('\n\n@tool("odd")\nasync def odd() -> None:\n    "[/x] \\x1b[31m\\t"\n')
    assert completed("call odd") == [("odd", "[/x] \\x1b[31m")]


def test_the_protocol_of_typers_own_script_for_bash(forked: ForkedProgram) -> None:
    variables = {
        "_ENCLAVE_BROKER_COMPLETE": "complete_bash",
        "COMP_WORDS": "enclave-broker call never",
        "COMP_CWORD": "2",
    }
    done = forked.run([], {**os.environ, **variables})
    assert (done.stdout, done.stderr) == ("never:awaited\nnever:threaded\n", "")


def test_the_configuration_is_the_one_of_the_line(
    names: Names, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "broker.toml").rename(place / "other.toml")
    assert names("call ") == []
    for line in ("-c other.toml call ", "call --config other.toml ", "call --config=other.toml "):
        assert names(line) == TOOLS
    assert names("-c other.toml gre") == ["greet"]
    monkeypatch.setenv("ENCLAVE_BROKER_CONFIG", "other.toml")
    assert names("explain rare") == ["rare:one"]


@pytest.mark.parametrize(
    "broken",
    [
        'plugins = ["./none.py"]\n',
        '[store]\nuse = "memroy"\n',
        "not toml",
        '[[tools]]\nuse = "python"\nmodule = "none.py"\n',
    ],
)
def test_a_broken_configuration_has_no_names(names: Names, place: Path, broken: str) -> None:
    (place / "broker.toml").write_text(broken)
    assert names("call ") == []
    assert names("run --runtime=") == []
    assert names("conf") == ["config"]


@pytest.mark.parametrize("name", ["tools.py", "greetings.py"])
def test_only_completions_are_printed(names: Names, place: Path, name: str) -> None:
    (place / name).write_text(NOISE + (place / name).read_text())
    assert names("call us") == ["users:get"]
    assert names("gre") == ["greet"]


def test_what_raises_anything_has_no_names(names: Names, place: Path) -> None:
    (place / "greetings.py").write_text("raise SystemExit('no')")
    assert names("call us") == []
    assert names("expl") == []


def test_neither_a_store_nor_a_sandbox_is_opened(names: Names, place: Path) -> None:
    (place / "opens.py").write_text(OPENS)
    (place / "broker.toml").write_text(
        'plugins = ["*", "./opens.py"]\nstore = { use = "opens" }\nruntime = { use = "opens" }\n'
        '[[tools]]\nuse = "python"\nmodule = "tools.py"\n'
    )
    assert names("call us") == ["users:get"]
    assert names("run --runtime=") == ["opens"]
    assert not (place / "opened").exists()


# The command


def test_a_script_is_printed_for_each_shell(program: Program, place: Path) -> None:
    before = sorted(place.iterdir())
    for shell in ("bash", "zsh", "fish"):
        done = program("completion", shell)
        assert "_ENCLAVE_BROKER_COMPLETE=complete_fish" in done.stdout
        assert (done.stderr, done.returncode) == ("", 0)
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize("arguments", [[], ["ksh"]])
def test_a_shell_is_named(program: Program, arguments: list[str]) -> None:
    done = program("completion", *arguments)
    assert (done.stdout, done.returncode) == ("", 2)
    assert re.search("bash.*zsh.*fish", done.stderr, re.DOTALL)


def test_there_is_no_option_that_edits_files(program: Program) -> None:
    for command in ([], ["greet"]):
        assert "--install-completion" not in program(*command, "--help").stdout
        assert program(*command, "--install-completion").returncode == 2
