"""``enclave-broker serve``: the broker on a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enclave_broker_core.commands import Command
from enclave_broker_core.config_files import FILES_HELP, chosen_files

from .settings import ServerSettings

SERVE_HELP = "Serve the broker over HTTP and WebSocket."


def serve_command() -> Command:
    """The command ``serve``, for the hook ``enclave_commands``."""
    return Command("serve", SERVE_HELP, serve_application, ServerSettings)


def serve_application() -> typer.Typer:
    """The command alone, as an application."""
    application = typer.Typer(rich_markup_mode=None, add_completion=False)
    application.command(help=SERVE_HELP)(serve)
    return application


def serve(
    context: typer.Context,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", "-c", metavar="PATH", help=FILES_HELP),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where it listens; else as configured.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=0, max=65535, help="0 is any that is free."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processes; several need a store that they share."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let everybody in who can reach it.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Say where it listens as JSON on stdout, errors too.")
    ] = False,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Then no new session is taken, and those that run have some time to end. A second signal
    cuts that short. SIGHUP reads the configuration again, all but [server].

    Leaves with 0 when it was told to stop, and with 2 for a mistake in the usage or the
    configuration.
    """
    # Only who serves waits for the server to be imported.
    from .process import run

    options = {"host": host, "port": port, "workers": workers, "insecure": insecure or None}
    given = {key: value for key, value in options.items() if value is not None}
    as_json = json or bool(context.find_root().params.get("json"))
    raise typer.Exit(run(chosen_files(config or context.obj), given, json=as_json))
