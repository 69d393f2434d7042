"""``enclave-broker call``: one tool call."""

from __future__ import annotations

import json as json_module
import sys
from typing import Annotated, Any

import typer

from enclave_broker_core.errors import BrokerError

from .exits import OK
from .opening import cancelled_by_signals, finish, opened
from .options import (
    AllowOption,
    ConfigOption,
    JsonOption,
    PrincipalOption,
    RoleOption,
    TenantOption,
    TimeoutOption,
    ToolArgument,
    session_options,
)
from .paths import config_paths
from .progress import Progress
from .reporting import complain, put_json


def call(
    context: typer.Context,
    name: ToolArgument,
    arguments: Annotated[
        str, typer.Argument(metavar="JSON|-", help="Its arguments, an object; - is stdin.")
    ] = "{}",
    config: ConfigOption = None,
    json: JsonOption = False,
    principal: PrincipalOption = None,
    role: RoleOption = None,
    tenant: TenantOption = None,
    allow: AllowOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Call one tool.

    Its result is JSON on stdout, its error is on stderr and begins with its code. With
    --json both are one line of JSON on stdout. Leaves with the same codes as run.
    """
    args = arguments_object(sys.stdin.read() if arguments == "-" else arguments)
    options = session_options(principal, role, tenant, allow, timeout=timeout)
    path = config_paths(context, config)

    async def command() -> int:
        failure: BrokerError | None = None
        result: Any = None
        async with opened(path) as setup:
            try:
                session = await setup.broker.create_session(**options)
            except BrokerError as error:
                return complain(error, json=json)
            progress = Progress(name)
            async with cancelled_by_signals(session) as interruption, progress.shown(session):
                try:
                    result = await session.call(name, args)
                    await session.complete()
                except BrokerError as error:
                    failure = error
            if failure is not None:
                return interruption.code(complain(failure, json=json))
            put_json(result, pretty=not json)
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
