"""``enclave-broker mcp config``: what an MCP client has to have in its file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from enclave_broker_core.config_files import chosen_files
from enclave_broker_core.errors import ConfigError

from .client_files import Client, client_files, serving_command


def print_config(
    context: typer.Context,
    client: Annotated[
        Client, typer.Option(metavar="CLIENT", help="One of claude-desktop, cursor and vscode.")
    ] = "claude-desktop",
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where a broker is served; else the client starts one, on stdin and stdout.",
        ),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", "-c", metavar="PATH", help="The broker's configuration."),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What the client calls the server.")
    ] = "enclave-broker",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the file's place too, as JSON; and errors.")
    ] = False,
) -> None:
    """Print what an MCP client has to have in its file to use the broker.

    Where the file is, is said on stderr. Servers that it has already stay: add this one to them.
    The paths are absolute, as a client starts the broker somewhere else. Leaves with 2 when there
    is no configuration, or when the client takes no URL in its file.
    """
    file = client_files()[client]
    if url is not None:
        if config:
            raise ConfigError("with --url the configuration is the server's: leave --config out")
        content = file.with_url(name, url)
    else:
        parent = context.parent
        files = chosen_files(config or (parent.params.get("config") if parent else None))
        if files is None:
            raise ConfigError("there is no broker.toml here: name the configuration, -c PATH")
        content = file.with_program(name, serving_command(files))
    if as_json or context.find_root().params.get("json"):
        said = {"client": client, "file": file.place, "content": content}
        sys.stdout.write(json.dumps(said) + "\n")
        return
    sys.stderr.write(f"For {file.place}:\n")
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
