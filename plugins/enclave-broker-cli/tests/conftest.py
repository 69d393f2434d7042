"""A directory with a configuration, tools and a plugin, and the real program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CONFIG = """
plugins = ["*", "./greetings.py"]

[runtime]
use = "monty"
workers = 1

[access]
default = "allow"
rules = [{ pattern = "admin:*", allow = false, unless = { role = "admin" } }]

[rate_limit]
per_tool = { "rare:*" = { max_calls = 1, window = 3600 } }

[[tools]]
use = "python"
module = "tools.py"
"""

TOOLS = '''
import threading

import anyio

from enclave_broker_core import tool


@tool("users:get")
async def get_user(id: int) -> dict[str, int]:
    """Look a user up by id.

    More about it.
    """
    return {"id": id}


@tool("admin:reset")
async def reset() -> str:
    return "done"


@tool("rare:one")
async def rare() -> int:
    return 1


@tool("never:awaited")
async def never() -> None:
    await anyio.sleep_forever()


@tool("never:threaded")
def stuck() -> None:
    threading.Event().wait()
'''

PLUGIN = """
import typer

from enclave_broker_core.commands import Command
from enclave_broker_core.hookspecs import hookimpl


def build():
    application = typer.Typer()

    @application.command()
    def greet(context: typer.Context, name: str) -> None:
        print(f"hello {name}, {context.obj[0]}")

    return application


@hookimpl
def enclave_commands():
    return [Command("greet", "Greet somebody.", build)]
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a configuration, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENCLAVE_BROKER_CONFIG", raising=False)
    (tmp_path / "broker.toml").write_text(CONFIG)
    (tmp_path / "tools.py").write_text(TOOLS)
    (tmp_path / "greetings.py").write_text(PLUGIN)
    return tmp_path


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the program to its end, as a process of its own: ``program("run", "-", stdin=…)``."""

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "enclave_broker_cli", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120"},
        )

    return run
