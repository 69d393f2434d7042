"""The options that commands share, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from enclave_broker_core.config_files import FILES_HELP
from enclave_broker_core.models import Principal

from .names import tool_names


def here_or_above(context: typer.Context, given: bool) -> bool:
    """--json may also stand before the command."""
    return given or bool(context.find_root().params.get("json"))


ConfigOption = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", metavar="PATH", help=FILES_HELP),
]
ToolArgument = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=tool_names, help="The tool.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", callback=here_or_above, help="Print JSON, errors too.")
]
PrincipalOption = Annotated[
    str | None,
    typer.Option("--principal", metavar="ID", help="Who calls; else the program itself."),
]
RoleOption = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="ROLE", help="A role of the principal; may be repeated."),
]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", metavar="TENANT", help="The principal's tenant.")
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PATTERN",
        autocompletion=tool_names,
        help="Only tools that match; may be repeated.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="The longest that the session may last."),
]
CallTimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--call-timeout", metavar="SECONDS", help="The longest that a tool call may take."
    ),
]

# Options that say something about the broker of this program.
LOCAL = ("config", "principal", "role", "tenant", "timeout", "call_timeout")


def refuse_local(context: typer.Context) -> None:
    """BadParameter for an option on which a server decides by itself."""
    for name in LOCAL:
        if context.params.get(name) or (name == "config" and context.obj):
            option = f"--{name.replace('_', '-')}"
            raise typer.BadParameter("on that the server decides, at --url", param_hint=option)


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
