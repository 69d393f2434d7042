"""``config show``, ``config schema`` and several files, by the real program."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[..., subprocess.CompletedProcess[str]]

PROD = """
[runtime]
workers = 2

[limits]
timeout = "${env:A_LIFE}"
"""

SECRETIVE = """
from contextlib import asynccontextmanager

from pydantic import BaseModel, SecretStr

from enclave_broker_core import Component, hookimpl


class Login(BaseModel, extra="forbid"):
    user: str
    word: SecretStr = SecretStr("built-in-word")


class Config(BaseModel, extra="forbid"):
    login: Login
    keys: list[SecretStr] = []
    by_name: dict[str, SecretStr] = {}
    token: str = ""
    url: str = ""
    note: str = ""


@asynccontextmanager
async def never(config, context):
    yield None


@hookimpl
def enclave_middleware():
    return [Component("secretive", never, Config)]
"""

SECRETS = """
plugins = ["memory", "./secretive.py"]

[[middleware]]
use = "secretive"
login = { user = "ada", word = "literal-word" }
keys = ["literal-key", "${secret:KEY}"]
by_name = { a = "literal-named", b = "${env:B_KEY}", c = "${env:C:-literal-default}" }
token = "literal-token"
url = "https://ada:literal-password@example.org/x"
note = "see ${secret:NOTE}"

[server]
api_key = "literal-api-key"
port = 80
"""


@pytest.fixture
def two(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (place / "prod.toml").write_text(PROD)
    monkeypatch.setenv("A_LIFE", "77")
    return place


def shown(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert (done.returncode, done.stderr) == (0, "")
    return {value["key"]: value for value in json.loads(done.stdout)}


def test_each_value_has_its_origin(
    program: Program, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCLAVE_BROKER__SESSIONS__MAX_CONCURRENT", "7")
    monkeypatch.setenv("ENCLAVE_BROKER__TOOLS__0__NAME", "mine")
    files = ("--config", "broker.toml", "--config", "prod.toml")
    values = shown(program("config", "show", *files, "--json"))
    assert values["runtime.use"] == {
        "key": "runtime.use",
        "value": "monty",
        "from": {"file": "broker.toml", "line": 5},
    }
    assert {key: (value["value"], value["from"]) for key, value in values.items()} == {
        "plugins": (["*", "./greetings.py"], {"file": "broker.toml", "line": 2}),
        "runtime.use": ("monty", {"file": "broker.toml", "line": 5}),
        "runtime.workers": (2, {"file": "prod.toml", "line": 3}),
        "access.default": ("allow", {"file": "broker.toml", "line": 9}),
        "access.rules[0].pattern": ("admin:*", {"file": "broker.toml", "line": 10}),
        "access.rules[0].allow": (False, {"file": "broker.toml", "line": 10}),
        "access.rules[0].unless.role": ("admin", {"file": "broker.toml", "line": 10}),
        'rate_limit.per_tool."rare:*".max_calls': (1, {"file": "broker.toml", "line": 13}),
        'rate_limit.per_tool."rare:*".window': (3600, {"file": "broker.toml", "line": 13}),
        "tools[0].use": ("python", {"file": "broker.toml", "line": 16}),
        "tools[0].module": ("tools.py", {"file": "broker.toml", "line": 17}),
        "tools[0].name": ("mine", {"variable": "ENCLAVE_BROKER__TOOLS__0__NAME"}),
        "limits.timeout": ("77", {"file": "prod.toml", "line": 6}),
        "sessions.max_concurrent": (7, {"variable": "ENCLAVE_BROKER__SESSIONS__MAX_CONCURRENT"}),
    }
    lines = program(*files, "config", "show").stdout.splitlines()
    rows = [line.split() for line in lines]
    assert rows[0] == ["key", "value", "from"]
    assert ["runtime.workers", "2", "prod.toml:3"] in rows
    assert ["sessions.max_concurrent", "7", "ENCLAVE_BROKER__SESSIONS__MAX_CONCURRENT"] in rows
    assert len(rows) == 1 + len(values)


def test_defaults_are_shown_when_asked_for(program: Program) -> None:
    values = shown(program("config", "show", "--defaults", "--json"))
    default = {"default": True}
    assert {key: (values[key]["value"], values[key]["from"]) for key in values} | {
        "store.use": ("memory", default),
        "store.max_events": (10_000, default),
        "secrets[0].use": ("env", default),
        "runtime.queue_wait": (5.0, default),
        "runtime.name": ("monty", default),
        "runtime.workers": (1, {"file": "broker.toml", "line": 6}),
        "tools[0].name": ("python", default),
        "limits.run_timeout": (300.0, default),
        "limits.idle_timeout": (None, default),
        "rate_limit.global": (None, default),
        "logging.level": ("info", default),
    } == {key: (values[key]["value"], values[key]["from"]) for key in values}
    rows = [line.split() for line in program("config", "show", "--defaults").stdout.splitlines()]
    assert ["limits.idle_timeout", "none", "default"] in rows


def test_without_a_file_there_are_variables_and_defaults(
    program: Program, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "broker.toml").unlink()
    assert program("config", "show").stdout == "all is as it is by default\n"
    monkeypatch.setenv("ENCLAVE_BROKER__STORE__GRACE", "1.5")
    row = program("config", "show").stdout.splitlines()[1]
    assert row.split() == ["store.grace", "1.5", "ENCLAVE_BROKER__STORE__GRACE"]


def test_secrets_are_hidden(program: Program, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "secretive.py").write_text(SECRETIVE)
    (place / "broker.toml").write_text(SECRETS)
    for name in ("KEY", "NOTE", "B_KEY"):
        monkeypatch.setenv(name, f"literal-{name}")
    monkeypatch.setenv("ENCLAVE_BROKER__MIDDLEWARE__0__BY_NAME__D", "literal-variable")
    done = program("config", "show", "--json", "--defaults")
    values = {key: value["value"] for key, value in shown(done).items()}
    ours = {
        key.removeprefix("middleware[0]."): value
        for key, value in values.items()
        if key.startswith(("middleware", "server"))
    }
    assert ours == {
        "use": "secretive",
        "login.user": "ada",
        "login.word": "[secret]",
        "keys": ["[secret]", "${secret:KEY}"],
        "by_name.a": "[secret]",
        "by_name.b": "${env:B_KEY}",
        "by_name.c": "[secret]",
        "by_name.d": "[secret]",
        "token": "[secret]",
        "url": "https://ada:[secret]@example.org/x",
        "note": "see ${secret:NOTE}",
        "server.api_key": "[secret]",
        "server.port": 80,
    }
    assert "literal" not in done.stdout + program("config", "show", "--defaults").stdout
    (place / "broker.toml").write_text(SECRETS.replace(', word = "literal-word"', ""))
    values = {key: v["value"] for key, v in shown(program("config", "show", "--json")).items()}
    assert "middleware[0].login.word" not in values


def test_a_wrong_configuration_is_not_shown(program: Program, place: Path) -> None:
    (place / "broker.toml").write_text("[server]\nport = 1\n[limits]\ntimeuot = 1\n")
    done = program("config", "show")
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith("CONFIG_ERROR: broker.toml:4: limits.timeuot: there is no such")


def test_the_schema_has_the_installed_parts(program: Program, place: Path) -> None:
    done = program("config", "schema")
    schema = json.loads(done.stdout)
    assert (done.stderr, done.returncode) == ("", 0)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$defs"]["runtime.monty"]["properties"]["use"]["const"] == "monty"
    (place / "secretive.py").write_text(SECRETIVE)
    (place / "broker.toml").write_text('plugins = ["./secretive.py"]')
    parts = json.loads(program("config", "schema").stdout)["$defs"]
    assert "middleware.secretive" in parts
    assert "runtime.monty" not in parts


def test_a_schema_that_is_not_whole_says_so(program: Program, place: Path) -> None:
    (place / "secretive.py").write_text("raise RuntimeError('broken')")
    (place / "broker.toml").write_text('plugins = ["./secretive.py", "memory"]')
    done = program("config", "schema")
    assert "store.memory" in json.loads(done.stdout)["$defs"]
    assert done.stderr.startswith("not in the schema: plugin './secretive.py'")
    assert "broken" in done.stderr
    assert done.returncode == 2


def test_several_files_for_every_command(
    program: Program, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (two / "wrong.toml").write_text("[limits]\ntimeout = 0\n")
    both = ("-c", "broker.toml", "-c", "prod.toml")
    assert program("check", *both).stdout == "broker.toml, prod.toml: all is well\n"
    assert "users:get" in program(*both, "tools").stdout
    done = program("check", *both, "--config", "wrong.toml")
    assert (done.returncode, done.stderr.splitlines()) == (
        2,
        ["wrong.toml:2: limits.timeout: Input should be greater than 0"],
    )
    monkeypatch.setenv("ENCLAVE_BROKER_CONFIG", os.pathsep.join(["broker.toml", "wrong.toml"]))
    assert program("check").stderr == done.stderr
    missing = program("check", "-c", "no.toml", "-c", "broker.toml", "-c", "none.toml")
    assert [line.rpartition(" ")[2] for line in missing.stderr.splitlines()] == [
        "no.toml",
        "none.toml",
    ]


def test_variables_go_over_the_file(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCLAVE_BROKER__ACCESS__RULES", "[]")
    assert json.loads(program("call", "admin:reset").stdout) == "done"
    monkeypatch.setenv("ENCLAVE_BROKER__LIMTS__TIMEOUT", "5")
    for command in (["check"], ["tools"], ["config", "show"]):
        done = program(*command)
        assert (
            "ENCLAVE_BROKER__LIMTS__TIMEOUT: there is no such key;"
            " did you mean ENCLAVE_BROKER__LIMITS__TIMEOUT?"
        ) in done.stderr
        assert done.returncode == 2


def test_the_help_tells_of_both(program: Program) -> None:
    assert "Show the configuration in effect" in program("--help").stdout
    below = program("config", "--help").stdout
    assert "Show each value that is in effect, and where it comes from." in below
    assert "Print the JSON Schema of a configuration" in below
    assert "--defaults" in program("config", "show", "--help").stdout
    help_text = " ".join(program("config", "schema", "--help").stdout.split())
    assert 'begins with the line "#:schema ./broker.schema.json"' in help_text
