"""``enclave-broker config``: what a configuration comes to, and what may stand in one."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from pydantic_core import to_json
from rich.table import Table
from rich.text import Text

from enclave_broker_core.build import load_plugins
from enclave_broker_core.config_schema import config_schema
from enclave_broker_core.effective import Value, effective

from .exits import WRONG
from .options import ConfigOption, JsonOption
from .paths import config_paths
from .reporting import put_json
from .terminal import harmless, table_console


def config_commands() -> typer.Typer:
    """The commands below ``config``."""
    application = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Show the configuration in effect, or the schema of all.",
    )
    application.command()(show)
    application.command()(schema)
    return application


def show(
    context: typer.Context,
    config: ConfigOption = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Also the values that nobody wrote.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show each value that is in effect, and where it comes from.

    That is a file and its line, a variable of the environment, or with --defaults a default.
    Secrets are hidden. Leaves with 2 when the configuration has a mistake.
    """
    values = effective(config_paths(context, config), environment=True, defaults=defaults)
    if json:
        put_json([_shown(value) for value in values])
        return
    table = Table("key", "value", "from", box=None, pad_edge=False)
    for value in values:
        said = "none" if value.value is None else to_json(value.value).decode()
        origin = "default" if value.origin is None else str(value.origin)
        table.add_row(*(Text(harmless(text)) for text in (value.key, said, origin)))
    table_console().print(table if values else "all is as it is by default")


def schema(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Print the JSON Schema of a configuration.

    It has the parts of the installed plugins. Editors use it when a configuration begins
    with the line "#:schema ./broker.schema.json". Leaves with 2 when a plugin did not load,
    whose parts are then missing from it. With --json it stands on one line.
    """
    plugins = load_plugins(config_paths(context, config), environment=True)
    put_json(config_schema(plugins), pretty=not json)
    failed = [plugin for plugin in plugins if plugin.error is not None]
    sys.stderr.writelines(f"not in the schema: {harmless(str(p.error))}\n" for p in failed)
    if any(not plugin.optional for plugin in failed):
        raise typer.Exit(WRONG)


def _shown(value: Value) -> dict[str, Any]:
    """``from`` has a file and a line, a variable, or says that it is a default."""
    shown: dict[str, Any] = {"key": value.key, "value": value.value}
    if value.origin is None:
        return {**shown, "from": {"default": True}}
    origin = {
        "file": value.origin.file,
        "line": value.origin.line,
        "variable": value.origin.variable,
    }
    return {**shown, "from": {key: said for key, said in origin.items() if said is not None}}
