"""The program: its commands, and how it ends."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, NoReturn

import importlib_metadata
import typer

from enclave_broker_core.errors import BrokerError

from .call import call
from .check import check
from .commands import Commands
from .completion import VARIABLE, answer, completion
from .config import config_commands
from .exits import NO_READER, SIGNAL, leave
from .explain import explain
from .new_plugin import new_plugin
from .options import ConfigOption
from .plugins import plugins
from .reporting import complain, put_json, wants_json
from .run import run
from .tools import tools

SIGINT = 2


def _version(context: typer.Context, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    names = ("enclave-broker-cli", "enclave-broker-core")
    versions = {name: importlib_metadata.version(name) for name in names}
    if context.params.get("json"):
        put_json(versions)
    else:
        sys.stdout.writelines(f"{name} {version}\n" for name, version in versions.items())
    raise typer.Exit


def build() -> typer.Typer:
    """The whole program; the commands of plugins are looked up when they are needed."""
    application = typer.Typer(
        name="enclave-broker",
        cls=Commands,
        no_args_is_help=True,
        # It would edit the startup files of shells; "completion" prints a script instead.
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Stands between agents and the tools that they may use.",
    )

    @application.callback()
    def every_command(
        context: typer.Context,
        config: ConfigOption = None,
        json: Annotated[
            bool,
            # Eager, so that --version knows of it in whichever order they stand.
            typer.Option("--json", is_eager=True, help="Print JSON, errors too."),
        ] = False,
        version: Annotated[
            bool, typer.Option("--version", callback=_version, help="Show the version.")
        ] = False,
    ) -> None:
        context.obj = config

    for command in (run, tools, call, explain, plugins, check, new_plugin, completion):
        application.command()(command)
    application.add_typer(config_commands(), name="config")
    return application


def main() -> NoReturn:
    """Run the command that the arguments name, and end the program with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What an agent's code prints may hold what the terminal's encoding can't.
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get(VARIABLE):
        answer(build())
    json = wants_json(sys.argv[1:])
    code = 0
    try:
        build()(prog_name="enclave-broker")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokerError as error:
        code = complain(error, json=json)
    except BrokenPipeError:
        code = NO_READER
    except KeyboardInterrupt:
        code = SIGNAL + SIGINT
    except Exception as problem:
        if json:
            # Without its text, which may hold anything.
            message = f"{type(problem).__name__}; the traceback is on stderr"
            put_json({"error": BrokerError(message).to_wire()})
        raise
    leave(code)
