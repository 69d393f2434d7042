"""The program: its commands, those that plugins add, and how it ends."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any, NoReturn

import importlib_metadata
import typer
import typer.core

from enclave_broker_core.build import load_plugins
from enclave_broker_core.errors import BrokerError

from .call import call
from .check import check
from .config import config_commands
from .exits import NO_READER, SIGNAL, leave
from .explain import explain
from .opening import complain
from .options import ConfigOption, config_paths
from .plugins import plugins
from .run import run
from .tools import tools

SIGINT = 2


class Commands(typer.core.TyperGroup):
    """The built-in commands and, looked up only when they are needed, those of plugins."""

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return own + sorted(set(self._added(ctx, quiet=True)) - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or self._added(ctx).get(cmd_name)

    def _added(self, ctx: Any, *, quiet: bool = False) -> dict[str, Any]:
        try:
            paths = config_paths(ctx, ctx.params.get("config"))
            found = load_plugins(paths, environment=True).commands()
        except BrokerError as error:
            if not quiet:
                raise
            sys.stderr.write(f"the commands of plugins are not shown: {error.message}\n")
            return {}
        commands = {}
        for command in found:
            application = command.build()
            made = typer.main.get_command(application)
            made.name, made.help = command.name, command.help
            commands[command.name] = made
        return commands


def _version(wanted: bool) -> None:
    if wanted:
        for name in ("enclave-broker-cli", "enclave-broker-core"):
            typer.echo(f"{name} {importlib_metadata.version(name)}")
        raise typer.Exit


def build() -> typer.Typer:
    """The whole program, without the commands of plugins."""
    application = typer.Typer(
        name="enclave-broker",
        cls=Commands,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Stands between agents and the tools that they may use.",
    )

    @application.callback()
    def every_command(
        context: typer.Context,
        config: ConfigOption = None,
        version: Annotated[
            bool,
            typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
        ] = False,
    ) -> None:
        context.obj = config

    for command in (run, tools, call, explain, plugins, check):
        application.command()(command)
    application.add_typer(config_commands(), name="config")
    return application


def main() -> NoReturn:
    """Run the command that the arguments name, and end the program with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What an agent's code prints may hold what the terminal's encoding can't.
            stream.reconfigure(errors="backslashreplace")
    code = 0
    try:
        build()(prog_name="enclave-broker")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokerError as error:
        code = complain(error)
    except BrokenPipeError:
        code = NO_READER
    except KeyboardInterrupt:
        code = SIGNAL + SIGINT
    leave(code)
