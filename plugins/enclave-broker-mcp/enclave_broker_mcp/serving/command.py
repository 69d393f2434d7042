"""``enclave-broker mcp``: the broker as an MCP server on stdin and stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enclave_broker_core.commands import Command
from enclave_broker_core.config_files import FILES_HELP, chosen_files

from .config_command import print_config
from .settings import Mode

MCP_HELP = "Serve the broker's tools to an MCP client, on stdin and stdout."


def mcp_command() -> Command:
    """The command ``mcp``, for the hook ``enclave_commands``."""
    return Command("mcp", MCP_HELP, mcp_application)


def mcp_application() -> typer.Typer:
    """The command alone, as an application."""
    application = typer.Typer(
        rich_markup_mode=None, add_completion=False, invoke_without_command=True
    )
    application.callback(help=MCP_HELP)(mcp)
    application.command("config")(print_config)
    return application


def mcp(
    context: typer.Context,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", "-c", metavar="PATH", help=FILES_HELP),
    ] = None,
    principal: Annotated[
        str | None,
        typer.Option("--principal", metavar="ID", help="Who calls; else the user of this process."),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help="A role of the principal; may be repeated."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="TENANT", help="The principal's tenant.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="PATTERN", help="Only tools that match; may be repeated."),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="What the client sees: all tools, three to search them and to run code, or both."
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", metavar="RUNTIME", help="Where code runs; else the first."),
    ] = None,
) -> None:
    """Serve until the client closes stdin, or until SIGINT or SIGTERM.

    What [[routes]] with use = "mcp" says holds here too, as far as it is not about HTTP. Messages
    go to stderr. SIGHUP reads the configuration again. Leaves with 0 when it was told to stop,
    and with 2 for a mistake in the usage or the configuration.
    """
    if context.invoked_subcommand is not None:
        return
    # Only who serves waits for the SDK to be imported.
    from .process import Order, run

    order = Order(
        files=chosen_files(config or context.obj),
        principal=principal,
        roles=frozenset(role or ()),
        tenant=tenant,
        given={
            key: value
            for key, value in {"mode": mode, "runtime": runtime, "allowed_tools": allow}.items()
            if value is not None
        },
    )
    raise typer.Exit(run(order))
