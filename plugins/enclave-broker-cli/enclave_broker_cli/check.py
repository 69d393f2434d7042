"""``enclave-broker check``: all mistakes of a configuration, and whether its parts open."""

from __future__ import annotations

import sys

import typer

from enclave_broker_core.build import check_backends

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
        if json:
            put_json({"ok": not problems, "problems": problems})
        elif problems:
            sys.stderr.writelines(f"{problem}\n" for problem in problems)
        else:
            checked = ", ".join(map(str, path or ())) or "the default configuration"
            sys.stdout.write(f"{checked}: all is well\n")
        return WRONG if problems else OK

    finish(command)
