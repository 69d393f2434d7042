"""Which files are the configuration of a command."""

from __future__ import annotations

from pathlib import Path

import typer

from enclave_broker_core.config_files import chosen_files


def config_paths(context: typer.Context, given: list[Path] | None) -> list[Path] | None:
    """The files of the configuration, None for defaults. ConfigError when one is not there.

    They may be named for the command, or for the program.
    """
    return chosen_files(given or context.obj)
