"""A directory with a configuration, tools and a plugin, and the real program."""

from __future__ import annotations

import codecs
import os
import re
import select
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import typer
from enclave_broker_cli.main import build
from forked_program import ForkedProgram, Started, forked_program

PROGRAM = [sys.executable, "-m", "enclave_broker_cli"]
SECONDS = 60

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
    def greet(
        context: typer.Context,
        name: str = typer.Argument(help="Somebody."),
        json: bool = typer.Option(False, "--json", help="Print JSON."),
    ) -> None:
        print(f"hello {name}, {(context.obj or ['broker.toml'])[0]}")

    return application


@hookimpl
def enclave_commands():
    return [
        Command("greet", "Greet somebody.", build),
        Command("tools greet", "Greet a tool.", build),
    ]
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


@pytest.fixture(scope="session")
def forked() -> Iterator[ForkedProgram]:
    """Runs the program to its end, as a process of its own."""
    with forked_program() as program:
        yield program


@pytest.fixture
def program(forked: ForkedProgram) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The same with the environment of a test: ``program("run", "-", stdin=…)``."""

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return forked.run(arguments, {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}, stdin)

    return run


@pytest.fixture
def find_commands() -> Callable[[], dict[str, Any]]:
    """Finds all commands, also those of the installed plugins and of the one in the directory.

    Each by the words that name it; the program itself has none.
    """

    def find() -> dict[str, Any]:
        root: Any = typer.main.get_command(build())
        context = root.make_context("enclave-broker", [], resilient_parsing=True)
        return dict(_commands_of(root, context))

    return find


def _commands_of(command: Any, context: Any, *above: str) -> Iterator[tuple[str, Any]]:
    yield " ".join(above), command
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, name)
        child = type(context)(below, info_name=name, parent=context)
        yield from _commands_of(below, child, *above, name)


class Terminal:
    """A program that has a terminal of its own, 80 columns wide.

    ``begin`` starts it, with the terminal's file.
    """

    def __init__(self, begin: Callable[[int], Started | subprocess.Popen[bytes]]) -> None:
        self._ours, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        self.process = begin(theirs)
        os.close(theirs)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """What matches first in all that the terminal shows, once it is there."""
        while (found := re.search(pattern, self.shown)) is None:
            if not self._read():
                pytest.fail(f"{pattern!r} is not shown: {self.shown!r}")
        return found

    def rest(self) -> str:
        """All that is shown up to the end of the program."""
        while self._read():
            pass
        return self.shown

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], SECONDS)[0]:
            pytest.fail(f"nothing more is shown after {self.shown!r}")
        try:
            data = os.read(self._ours, 4096)
        except OSError:  # the other end is closed
            return False
        self.shown += self._decoder.decode(data)
        return bool(data)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Starts a program in a terminal: ``terminal("tools", NO_COLOR="1")``.

    Its environment says nothing of colours but what is given. ``command`` is another program.
    """
    opened: list[Terminal] = []

    def start(*arguments: str, command: list[str] | None = None, **environment: str) -> Terminal:
        def begin(file: int) -> subprocess.Popen[bytes]:
            # Opening it makes it the controlling terminal, which shells want.
            takes = ["sh", "-c", 'exec 9<>"$0" 9>&-; exec "$@"', os.ttyname(file)]
            return subprocess.Popen(
                [*takes, *(command or PROGRAM), *arguments],
                env=plain_environment(**{"TERM": "xterm-256color", **environment}),
                start_new_session=True,
                stdin=file,
                stdout=file,
                stderr=file,
            )

        opened.append(Terminal(begin))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def forked_terminal(forked: ForkedProgram) -> Iterator[Callable[..., Terminal]]:
    """The same without the time that imports take, one after the other.

    ``files`` stand for ``stdout`` and ``stderr`` where they are none of the terminal's.
    """
    opened: list[Terminal] = []

    def start(
        *arguments: str, files: dict[str, IO[bytes]] | None = None, **environment: str
    ) -> Terminal:
        variables = plain_environment(**{"TERM": "xterm-256color", **environment})
        others = {name: file.fileno() for name, file in (files or {}).items()}

        def begin(file: int) -> Started:
            streams = [file, others.get("stdout", file), others.get("stderr", file)]
            return forked.start(arguments, variables, streams)

        opened.append(Terminal(begin))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture(name="plain_environment")
def _plain_environment() -> Callable[..., dict[str, str]]:
    return plain_environment


def plain_environment(**more: str) -> dict[str, str]:
    """The environment without what terminals and tests say of themselves in it."""
    unwanted = (
        "COLORTERM",
        "COLUMNS",
        "FORCE_COLOR",
        "LINES",
        "NO_COLOR",
        "TERM",
        "TTY_COMPATIBLE",
    )
    return {
        **{name: value for name, value in os.environ.items() if name not in unwanted},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        **more,
    }
