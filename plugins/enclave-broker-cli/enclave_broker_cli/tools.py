"""``enclave-broker tools``: what there is to call."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from pydantic_core import to_json
from rich.table import Table
from rich.text import Text

from enclave_broker_core.errors import ArgumentsError, BrokerError, UnknownToolError
from enclave_broker_core.export import FORMATS, exported, known_format
from enclave_broker_core.models import ToolSpec

from .exits import OK
from .names import format_names, tool_names
from .opening import finish, opened
from .options import (
    AllowOption,
    ConfigOption,
    JsonOption,
    PrincipalOption,
    RoleOption,
    TenantOption,
    session_options,
)
from .paths import config_paths
from .reporting import complain, put_json
from .terminal import console, harmless, table_console


def tools(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", autocompletion=tool_names, help="One tool, with its schemas."
        ),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    principal: PrincipalOption = None,
    role: RoleOption = None,
    tenant: TenantOption = None,
    allow: AllowOption = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            autocompletion=format_names,
            help=f"As an API takes them: {', '.join(FORMATS)}.",
        ),
    ] = None,
) -> None:
    """List the tools that the caller may use, or show one.

    With --format they are a JSON list to pass on to that API, with the names that it allows.
    """
    if format is not None:
        try:
            known_format(format)
        except ArgumentsError as error:
            raise typer.BadParameter(error.message, param_hint="--format") from None
    options = session_options(principal, role, tenant, allow)
    path = config_paths(context, config)

    async def command() -> int:
        async with opened(path) as setup:
            try:
                async with setup.broker.session(**options) as session:
                    visible = await session.visible_tools()
            except BrokerError as error:
                return complain(error, json=json)
        if name is not None:
            visible = {outer: spec for outer, spec in visible.items() if spec.name == name}
            if not visible:
                missing = UnknownToolError(f"there is no tool named {name!r}")
                return complain(missing, json=json)
        specs = list(visible.values())
        if format is not None:
            put_json(exported(format, visible), pretty=not json)
        elif name is None:
            _list(specs, json)
        else:
            _one(specs[0], json)
        return OK

    finish(command)


def _list(specs: Sequence[ToolSpec], json: bool) -> None:
    if json:
        put_json([_shown(spec) for spec in specs])
        return
    table = Table("tool", "what it does", "from", box=None, pad_edge=False)
    for spec in specs:
        table.add_row(
            Text(spec.name, style="strike" if spec.deprecated else ""),
            Text(harmless(spec.description.partition("\n")[0])),
            Text(harmless(spec.source)),
        )
    table_console().print(table if specs else "there are no tools")


def _one(spec: ToolSpec, json: bool) -> None:
    if json:
        put_json(_shown(spec))
        return
    out = console(sys.stdout)
    out.print(Text(spec.name, style="bold"))
    if spec.description:
        for line in spec.description.splitlines():
            out.print(Text(harmless(line)))
    for title, schema in (("arguments", spec.input_schema), ("result", spec.output_schema)):
        if schema is not None:
            out.print(Text(f"\n{title}", style="bold"))
            out.print(Text(to_json(schema, indent=2).decode()))
    shown = _shown(spec)
    for key in ("timeout", "rate_limit", "requires_auth", "secrets", "tags", "source"):
        if key in shown:
            out.print(Text(f"\n{key} ", style="bold"), Text(to_json(shown[key]).decode()))


def _shown(spec: ToolSpec) -> dict[str, object]:
    """What is said of a tool: defaults that say nothing are left out."""
    whole = spec.model_dump(mode="json", exclude_defaults=True)
    return {**whole, "input_schema": spec.input_schema, "source": spec.source}
