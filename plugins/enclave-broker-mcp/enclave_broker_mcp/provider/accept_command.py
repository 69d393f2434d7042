"""``enclave-broker tools accept``: looks at the tools of a server, and accepts them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from pydantic_core import to_json

from enclave_broker_core.commands import Command
from enclave_broker_core.config_files import chosen_files
from enclave_broker_core.errors import ConfigError

if TYPE_CHECKING:
    from .accepting import Review

ACCEPT_HELP = "Show what is new or changed of an MCP server's tools, and accept it."

NOTHING_ACCEPTED = 1


def accept_command() -> Command:
    """The command ``tools accept``, for the hook ``enclave_commands``."""
    return Command("tools accept", ACCEPT_HELP, _build)


def _build() -> typer.Typer:
    application = typer.Typer(add_completion=False, rich_markup_mode=None, help=ACCEPT_HELP)
    application.command()(accept)
    return application


def accept(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The server, as the configuration calls it.")
    ],
    tool: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOOL]...", help="Only these of its tools, without the NAME."),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", "-c", metavar="PATH", help="The broker's configuration."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept it without asking.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")] = False,
) -> None:
    """Show what is new or changed of an MCP server's tools, and accept it.

    The server is started, and its tools are listed; none is called. What is accepted is written
    to the server's file of pins, and a broker that runs takes it up within seconds.

    Leaves with 1 when there is something to accept and it was not accepted.
    """
    # Only this command waits for the protocol to be loaded.
    from .accepting import look

    as_json = json or bool(context.find_root().params.get("json"))
    review = anyio.run(look, chosen_files(config or context.obj), name)
    wanted = set(tool or ())
    unknown = sorted(wanted - review.names)
    if unknown:
        raise ConfigError(f"{name} has nothing to accept of {', '.join(unknown)}")
    review = review.only(wanted) if wanted else review
    if not as_json:
        sys.stdout.writelines(f"{line}\n" for line in review.lines())
    accepted = yes and not review.is_empty
    if not (yes or as_json or review.is_empty) and sys.stdin.isatty():
        accepted = typer.confirm(f"Accept {review.summary()}?")
    if accepted:
        review.accept()
    if as_json:
        sys.stdout.write(to_json(review.as_json(accepted)).decode() + "\n")
    elif not review.is_empty:
        sys.stdout.write(_said(review, accepted))
    if not accepted and not review.is_empty:
        raise typer.Exit(NOTHING_ACCEPTED)


def _said(review: Review, accepted: bool) -> str:
    if accepted:
        return f"Accepted, in {review.file.path}.\n"
    return "Nothing was accepted; --yes accepts it.\n"
