"""What the program shows on a real terminal, and what it keeps from a pipe."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest
from forked_program import ForkedProgram

Terminals = Callable[..., Any]

SLOW = '''

@tool("slow:steps")
async def steps(ctx: ToolContext) -> None:
    """Says that it gets on, and never ends."""
    await ctx.progress("receiving", bytes_received=2000, total_bytes=10000)
    await anyio.sleep_forever()


@tool("slow:talks")
async def talks() -> None:
    """Logs when its file appears, and never ends."""
    while not await anyio.Path("go").exists():
        await anyio.sleep(0.05)
    logging.getLogger("talks").warning("look here")
    await anyio.sleep_forever()
'''
ERASE = "\r\x1b\\[2K"
ESCAPE = "\x1b"


@pytest.fixture(autouse=True)
def slow(place: Path) -> None:
    tools = (place / "tools.py").read_text().replace("import tool", "import ToolContext, tool")
    (place / "tools.py").write_text(f"import logging\n{tools}{SLOW}")


def interrupted(started: Any) -> str:
    """All that is shown when Ctrl-C has ended the program."""
    started.process.send_signal(signal.SIGINT)
    shown: str = started.rest()
    assert started.process.wait() == 130
    return shown


def written(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


# Progress


@pytest.mark.parametrize("arguments", [["call", "slow:steps"], ["call", "--json", "slow:steps"]])
def test_call_shows_what_runs(forked_terminal: Terminals, arguments: list[str]) -> None:
    started = forked_terminal(*arguments)
    started.wait_for(rf"{ERASE}.*slow:steps  \d+\.\d s  receiving 2\.0 kB of 10\.0 kB")
    shown = interrupted(started)
    # The line is gone before the error is told.
    assert re.search(rf"{ERASE}(\{{.*\}}\r\n)?SESSION_CANCELLED: interrupted by SIGINT\r\n$", shown)


def test_run_shows_what_runs_below_its_events(forked_terminal: Terminals, place: Path) -> None:
    (place / "code.py").write_text('print("first")\nawait call_tool("never:awaited")')
    started = forked_terminal("run", "code.py")
    started.wait_for(rf"{ERASE}.*never:awaited  \d+\.\d s")
    shown = interrupted(started)
    assert re.search(rf"{ERASE}[^\n]*error[^\n]*SESSION_CANCELLED", shown)
    assert not re.search(r"never:awaited  \d+\.\d s[^\r]*\n", shown)


def test_run_shows_that_the_code_runs(forked_terminal: Terminals, place: Path) -> None:
    (place / "code.py").write_text("while True:\n    pass")
    started = forked_terminal("run", "--json", "--run-timeout", "1", "code.py")
    started.wait_for(rf"{ERASE}.*the code  \d+\.\d s")
    assert "DEADLINE_EXCEEDED" in started.rest()
    assert started.process.wait() == 3


def test_a_log_line_stands_alone(forked_terminal: Terminals, place: Path) -> None:
    started = forked_terminal("call", "slow:talks")
    started.wait_for(r"slow:talks  \d+\.\d s")
    (place / "go").touch()
    started.wait_for(rf"{ERASE}WARNING talks: look here\r\n")
    interrupted(started)


def test_the_line_is_on_stderr_only(forked_terminal: Terminals) -> None:
    with TemporaryFile() as out:
        started = forked_terminal("call", "--timeout", "1", "slow:steps", files={"stdout": out})
        assert re.search(rf"{ERASE}.*slow:steps  \d+\.\d s", started.rest())
        assert started.process.wait() == 3
        assert written(out) == b""


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["call", "slow:steps"], {"TERM": "dumb"}),
        (["run", "--quiet", "code.py"], {}),
    ],
    ids=["dumb", "quiet"],
)
def test_there_is_no_line(
    forked_terminal: Terminals, place: Path, arguments: list[str], variables: dict[str, str]
) -> None:
    (place / "code.py").write_text('await call_tool("never:awaited")')
    shown = forked_terminal(*arguments, "--timeout", "1", **variables).rest()
    assert shown.startswith("SESSION_EXPIRED: ")
    assert ESCAPE not in shown


@pytest.mark.parametrize("forced", [{}, {"FORCE_COLOR": "1"}], ids=["plain", "forced"])
def test_a_pipe_gets_no_line(forked_terminal: Terminals, forced: dict[str, str]) -> None:
    """Also when stdout is a terminal, and when colours are wanted."""
    with TemporaryFile() as err:
        files = {"stderr": err}
        started = forked_terminal("call", "--timeout", "1", "slow:steps", files=files, **forced)
        assert started.rest() == ""
        (line,) = written(err).splitlines()
    assert line.startswith(b"SESSION_EXPIRED: ")


def test_a_pipe_gets_no_escapes(forked_terminal: Terminals, place: Path) -> None:
    (place / "code.py").write_text('print("first")\nawait call_tool("slow:steps")')
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        files = {"stdout": stdout, "stderr": stderr}
        forked_terminal("run", "--timeout", "1", "code.py", files=files).process.wait()
        out, err = written(stdout), written(stderr)
    assert out == b"first\n"
    assert [line.split()[1] for line in err.splitlines()] == [
        *(b"session", b"call", b"error", b"final")
    ]
    assert ESCAPE.encode() not in err


# Colours

COLOUR = re.compile("\x1b\\[[0-9;]*m")


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"CLICOLOR": "0"}, False),
        ({"CLICOLOR": "0", "CLICOLOR_FORCE": "1"}, True),
    ],
    ids=str,
)
def test_colours_on_a_terminal(
    forked_terminal: Terminals, place: Path, variables: dict[str, str], coloured: bool
) -> None:
    (place / "code.py").write_text("1")
    # Its events are on stderr, the table is on stdout.
    for arguments in (["run", "code.py"], ["tools"]):
        shown = forked_terminal(*arguments, **variables).rest()
        assert bool(COLOUR.search(shown)) == coloured, arguments
    assert ESCAPE in shown or not coloured


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"CLICOLOR_FORCE": "1", "TERM": "dumb"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
    ids=str,
)
def test_colours_where_there_is_no_terminal(
    forked: ForkedProgram,
    place: Path,
    plain_environment: Callable[..., dict[str, str]],
    variables: dict[str, str],
    coloured: bool,
) -> None:
    (place / "code.py").write_text("1")
    environment = plain_environment(**{"TERM": "xterm-256color", **variables})
    err = forked.run(["run", "code.py"], environment).stderr
    out = forked.run(["tools"], environment).stdout
    assert "users:get" in out
    assert "session" in err
    assert [bool(COLOUR.search(text)) for text in (out, err)] == [coloured, coloured]


@pytest.mark.parametrize("arguments", [["--help"], ["greet", "--help"], ["call"]], ids=" ".join)
def test_help_and_mistakes_have_no_colours(terminal: Terminals, arguments: list[str]) -> None:
    """Not even those of plugins, for which Typer would have some."""
    shown = terminal(*arguments, FORCE_COLOR="1").rest()
    assert "Usage: enclave-broker" in shown
    assert ESCAPE not in shown
