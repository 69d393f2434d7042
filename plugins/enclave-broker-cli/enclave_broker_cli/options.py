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
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="PATH",
        help=f"The broker's configuration; else ${VARIABLE}, else {DEFAULT} if there is one.",
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


def config_path(context: typer.Context, given: Path | None) -> Path | None:
    """The configuration to use, None for defaults. ConfigError when it is not there."""
    above: Path | None = context.obj
    variable = os.environ.get(VARIABLE)
    path = given or above or (Path(variable) if variable else None)
    if path is None:
        return DEFAULT if DEFAULT.is_file() else None
    if not path.is_file():
        raise ConfigError(f"there is no configuration file {path}")
    return path


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
