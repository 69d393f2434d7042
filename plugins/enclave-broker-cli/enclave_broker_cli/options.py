"""The options that commands share, and what becomes of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from enclave_broker_core.errors import ConfigError
from enclave_broker_core.models import Principal

VARIABLE = "ENCLAVE_BROKER_CONFIG"
DEFAULT = Path("broker.toml")

ConfigOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        metavar="PATH",
        help="The broker's configuration; of several, the later ones go over the earlier."
        f" Else ${VARIABLE}, else {DEFAULT} if there is one.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PrincipalOption = Annotated[
    str | None,
    typer.Option("--principal", metavar="ID", help="Who calls; else the program itself."),
]
RoleOption = Annotated[
    list[str] | None, typer.Option("--role", help="A role of the principal; may be repeated.")
]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="The principal's tenant.")]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="PATTERN", help="Only these tools; may be repeated."),
]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="The session's whole life.")
]
CallTimeoutOption = Annotated[
    float | None, typer.Option("--call-timeout", metavar="SECONDS", help="Each tool call.")
]


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


def session_options(
    principal: str | None,
    roles: list[str] | None,
    tenant: str | None,
    allow: list[str] | None,
    **limits: float | None,
) -> dict[str, Any]:
    """What ``create_session`` takes; limits that are None are left to the configuration."""
    options: dict[str, Any] = {key: limit for key, limit in limits.items() if limit is not None}
    if principal is not None:
        options["principal"] = Principal(id=principal, roles=frozenset(roles or ()), tenant=tenant)
    elif roles or tenant:
        raise typer.BadParameter("a role and a tenant are a principal's", param_hint="--principal")
    if allow:
        options["allowed_tools"] = allow
    return options
