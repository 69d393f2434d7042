"""``enclave-broker call``: one tool call."""

from __future__ import annotations

import json as json_module
import sys
from typing import Annotated, Any

import typer
from pydantic_core import to_json

from enclave_broker_core.errors import BrokerError

from .exits import OK, exit_code
from .opening import cancelled_by_signals, complain, finish, opened
from .options import (
    AllowOption,
    ConfigOption,
    PrincipalOption,
    RoleOption,
    TenantOption,
    TimeoutOption,
    config_paths,
    session_options,
)


def call(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The tool.")],
    arguments: Annotated[
        str, typer.Argument(metavar="[JSON|-]", help="Its arguments, an object; - is stdin.")
    ] = "{}",
    config: ConfigOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="Result and error as one line of JSON each.")
    ] = False,
    principal: PrincipalOption = None,
    role: RoleOption = None,
    tenant: TenantOption = None,
    allow: AllowOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Call one tool.

    Its result is JSON on stdout, its error is on stderr and begins with its code.

    Leaves with the same codes as run.
    """
    args = arguments_object(sys.stdin.read() if arguments == "-" else arguments)
    options = session_options(principal, role, tenant, allow, timeout=timeout)
    path = config_paths(context, config)

    async def command() -> int:
        async with opened(path) as setup:
            try:
                session = await setup.broker.create_session(**options)
            except BrokerError as error:
                return complain(error)
            async with cancelled_by_signals(session) as interruption:
                try:
                    result = await session.call(name, args)
                    await session.complete()
                except BrokerError as error:
                    if json:
                        sys.stderr.write(to_json(error.to_wire()).decode() + "\n")
                        return interruption.code(exit_code(error.code))
                    return interruption.code(complain(error))
            sys.stdout.write(to_json(result, indent=None if json else 2).decode() + "\n")
            return OK

    finish(command)


def arguments_object(text: str) -> dict[str, Any]:
    """The arguments that were given as JSON; a mistake in the usage when they are none."""
    try:
        given = json_module.loads(text)
    except ValueError as problem:
        raise typer.BadParameter(f"not JSON: {problem}", param_hint="JSON") from None
    if not isinstance(given, dict):
        raise typer.BadParameter("the arguments must be an object, by name", param_hint="JSON")
    return given
