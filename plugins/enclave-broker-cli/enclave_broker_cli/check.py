"""``enclave-broker check``: all mistakes of a configuration, and whether its parts open."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from enclave_broker_core.build import check_backends, load_plugins
from enclave_broker_core.errors import ConfigError

from .exits import OK, WRONG
from .opening import finish
from .options import ConfigOption, JsonOption
from .paths import config_paths
from .reporting import put_json


def check(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check a configuration, and open its parts.

    All mistakes are reported at once; only without any its parts are opened and tried.
    Leaves with 0 when all is well and with 2 otherwise.
    """
    path = config_paths(context, config)

    async def command() -> int:
        problems = await check_backends(path, environment=True)
        checked = ", ".join(map(str, path or ())) or "the default configuration"
        return report(checked, problems, _warnings(path), json=json)

    finish(command)


def report(checked: str, problems: Sequence[str], warnings: Sequence[str], *, json: bool) -> int:
    """Say what is wrong, and what will not work for ever; the exit code."""
    if json:
        told = {"warnings": warnings} if warnings else {}
        put_json({"ok": not problems, "problems": problems, **told})
    else:
        sys.stderr.writelines(f"{line}\n" for line in (*warnings, *problems))
        if not problems:
            sys.stdout.write(f"{checked}: all is well\n")
    return WRONG if problems else OK


def _warnings(path: Sequence[Path] | None) -> list[str]:
    try:
        return load_plugins(path, environment=True).warnings()
    except ConfigError:
        return []  # which is among the problems
