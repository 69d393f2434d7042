"""``enclave-broker explain``: what would become of a call, without making it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.explain import CallExplanation

from .call import arguments_object
from .exits import LIMIT, OK
from .opening import finish, opened
from .options import (
    AllowOption,
    ConfigOption,
    JsonOption,
    RoleOption,
    TenantOption,
    ToolArgument,
    session_options,
)
from .paths import config_paths
from .reporting import complain, put_json
from .terminal import harmless

SOMEBODY = "caller"


def explain(
    context: typer.Context,
    name: ToolArgument,
    config: ConfigOption = None,
    json: JsonOption = False,
    principal: Annotated[
        str | None,
        typer.Option(
            "--id", "--principal", metavar="ID", help="Who calls; else the program itself."
        ),
    ] = None,
    role: RoleOption = None,
    tenant: TenantOption = None,
    allow: AllowOption = None,
    args: Annotated[
        str | None,
        typer.Option("--args", metavar="JSON|-", help="The arguments, an object; - is stdin."),
    ] = None,
) -> None:
    """Say what would become of a call, and why, without making it.

    Nothing is run and nothing is counted. A role or a tenant alone is somebody's who has it.

    Leaves with 0 when the call would be let through and with 3 when it would be refused.
    """
    if principal is None and (role or tenant):
        principal = SOMEBODY
    who = session_options(principal, role, tenant, allow)
    given = None
    if args is not None:
        given = arguments_object(sys.stdin.read() if args == "-" else args)
    path = config_paths(context, config)

    async def command() -> int:
        async with opened(path) as setup:
            try:
                found = await setup.broker.explain(name, given, **who)
            except BrokerError as error:
                return complain(error, json=json)
        if json:
            put_json(found.to_json())
        else:
            sys.stdout.writelines(f"{fact:<11} {harmless(said)}\n" for fact, said in _facts(found))
        return OK if found.allowed else LIMIT

    finish(command)


def _facts(found: CallExplanation) -> Iterator[tuple[str, str]]:
    """All that was found out, each with what it is about."""
    yield "call", "allowed" if found.allowed else f"refused: {found.refusal}: {found.message}"
    if found.tool is None:
        yield "tool", f"none; near are {', '.join(found.near)}" if found.near else "none"
    else:
        yield "tool", found.tool
        yield "route", "exact" if found.pattern is None else f"pattern {found.pattern}"
    for one in found.decisions:
        verdict = "not asked" if one.verdict is None else one.verdict.value
        rule = "" if one.rule in ("", one.policy) else f" by {one.rule}"
        yield "access", f"{one.policy}: {verdict}{rule}{one.reason and f' ({one.reason})'}"
    for window in found.windows:
        left = "nobody knows how many" if window.left is None else window.left
        size = f"{window.max_calls} calls in {window.seconds:g} s"
        yield "window", f"{window.scope}: {left} left of {size}"
    for position, middleware in enumerate(found.middleware, 1):
        yield "middleware", f"{position}. {middleware}"
    if found.problems == ():
        yield "arguments", "valid"
    for field, reason in found.problems or ():
        yield "arguments", f"{field}: {reason}" if field else reason
    if found.deadline is not None:
        yield "deadline", f"{found.deadline:.4g} s ({found.deadline_from})"
    for secret, known in found.secrets.items():
        yield "secret", f"{secret}: {'known' if known else 'no source knows it'}"
    if found.calls_left is not None:
        yield "calls left", str(found.calls_left)
