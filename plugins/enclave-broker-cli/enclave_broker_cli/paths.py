"""Which files are the configuration."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from enclave_broker_core.errors import ConfigError

VARIABLE = "ENCLAVE_BROKER_CONFIG"
DEFAULT = Path("broker.toml")


def config_paths(context: typer.Context, given: list[Path] | None) -> list[Path] | None:
    """The files of the configuration, None for defaults. ConfigError when one is not there.

    ``$ENCLAVE_BROKER_CONFIG`` may name several, parted as in ``$PATH``.
    """
    above: list[Path] | None = context.obj
    variable = os.environ.get(VARIABLE, "")
    named = [Path(name) for name in variable.split(os.pathsep) if name]
    paths = given or above or named
    if not paths:
        return [DEFAULT] if DEFAULT.is_file() else None
    missing = [f"there is no configuration file {path}" for path in paths if not path.is_file()]
    if missing:
        raise ConfigError("\n".join(missing), problems=missing)
    return paths
