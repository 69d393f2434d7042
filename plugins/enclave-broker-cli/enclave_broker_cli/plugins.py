"""``enclave-broker plugins``: which plugins there are, and what became of each."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from rich.table import Table
from rich.text import Text

from enclave_broker_core.build import load_plugins
from enclave_broker_core.plugins import Plugin

from .options import ConfigOption, JsonOption
from .paths import config_paths
from .reporting import put_json
from .terminal import harmless, table_console


def plugins(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
    """List the plugins and what became of each."""
    show(list(load_plugins(config_paths(context, config), environment=True)), json=json)


def show(found: Sequence[Plugin], *, json: bool) -> None:
    """Print a table, or JSON; errors and warnings go to stderr."""
    if json:
        put_json([_shown(plugin) for plugin in found])
        return
    table = Table("plugin", "distribution", "version", "kinds", "state", box=None, pad_edge=False)
    for plugin in found:
        kinds = ", ".join(plugin.parts)
        row = (plugin.name, plugin.distribution, plugin.version, kinds, plugin.state)
        table.add_row(*map(Text, row), style="" if plugin.state == "loaded" else "yellow")
    table_console().print(table)
    for plugin in found:
        for line in (*plugin.warnings, plugin.error):
            if line is not None:
                sys.stderr.write(f"{harmless(line)}\n")


def _shown(plugin: Plugin) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "parts": plugin.parts,
        "state": plugin.state,
    }
    if plugin.error is not None:
        shown["error"] = plugin.error
    if plugin.warnings:
        shown["warnings"] = plugin.warnings
    return shown
