"""``enclave-broker tools import``: what would become of a document, before it is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from pydantic import ValidationError
from pydantic_core import to_json

from enclave_broker_core.commands import Command
from enclave_broker_core.errors import ConfigError

from .config import OpenapiConfig

if TYPE_CHECKING:
    from .importing import Preview

IMPORT_HELP = "Show what would become of an OpenAPI document as tools."


def import_command() -> Command:
    """The command ``tools import``, for the hook ``enclave_commands``."""
    return Command("tools import", IMPORT_HELP, _build)


def _build() -> typer.Typer:
    application = typer.Typer(add_completion=False, rich_markup_mode=None, help=IMPORT_HELP)
    application.command()(import_)
    return application


def import_(
    context: typer.Context,
    spec: Annotated[
        str, typer.Argument(metavar="URL", help="The document: a URL, or the path of a file.")
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What its tools' names begin with.")
    ] = "api",
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include", metavar="PATTERN", help="Only operations of this name; may be repeated."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", metavar="PATTERN", help="No operations of this name; may be repeated."
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="Where its requests are to go instead."),
    ] = None,
    bearer: Annotated[
        str | None,
        typer.Option(
            "--bearer-from",
            metavar="VARIABLE",
            help="The environment variable with the token that the document is fetched with.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")] = False,
) -> None:
    """Show what would become of an OpenAPI document as tools.

    It is fetched and read; nothing is called and nothing is written. At the end stands the
    table for the configuration.
    """
    given: dict[str, Any] = {
        "name": name,
        "spec": spec,
        "server": server,
        "include": include or (),
        "exclude": exclude or (),
    }
    if bearer is not None:
        if not os.environ.get(bearer):
            raise typer.BadParameter(f"{bearer} is not set", param_hint="--bearer-from")
        given["auth"] = {"type": "bearer", "token": os.environ[bearer]}
    try:
        config = OpenapiConfig.model_validate(given)
    except ValidationError as problem:
        lines = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in problem.errors(include_url=False, include_input=False)
        ]
        raise ConfigError("; ".join(lines), problems=lines) from None
    # Only this command waits for what reads documents.
    from .importing import look

    preview = anyio.run(look, config)
    if json or context.find_root().params.get("json"):
        sys.stdout.write(to_json(preview.as_json()).decode() + "\n")
    else:
        sys.stdout.writelines(f"{_harmless(line)}\n" for line in _lines(preview))


def _lines(preview: Preview) -> list[str]:
    outcome = preview.outcome
    counts = [f"{len(preview.tools)} tools"]
    counts += [f"{len(outcome.broken)} broken"] if outcome.broken else []
    counts += [f"{len(outcome.left_out)} left out"] if outcome.left_out else []
    title = outcome.title or preview.config.name
    lines = [f"{title}, OpenAPI {outcome.version}: {', '.join(counts)}", ""]
    lines += _columns([(tool["name"], tool["operation"]) for tool in preview.tools])
    if outcome.broken:
        lines += ["", "No tools, because:"]
        lines += [f"  {one.key}: {one.reason}" for one in outcome.broken]
    if preview.warnings:
        lines += ["", "With a warning:"]
        lines += [f"  {line}" for line in preview.warnings]
    return [*lines, "", "In the configuration:", "", *preview.toml()]


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(first) for first, _ in rows), default=0)
    return [f"  {first:{width}}  {second}" for first, second in rows]


def _harmless(text: str) -> str:
    """What a document says can't do anything to a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
