"""``enclave-broker run``: runs an agent's code and shows what happens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from enclave_broker_core.errors import BrokerError, ConfigError
from enclave_broker_core.reloading import reloaded_by_hangup
from enclave_broker_core.session import Session

from .exits import NO_READER, OK, exit_code
from .names import runtime_names
from .opening import cancelled_by_signals, finish, opened
from .options import (
    AllowOption,
    CallTimeoutOption,
    ConfigOption,
    PrincipalOption,
    RoleOption,
    TenantOption,
    TimeoutOption,
    here_or_above,
    session_options,
)
from .paths import config_paths
from .progress import Progress
from .reporting import complain
from .show import Ndjson, Readable, Show

# What is said to run while no tool does.
THE_CODE = "the code"


def run(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The code; - is stdin.")],
    config: ConfigOption = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", callback=here_or_above, help="Print the events as NDJSON, errors too."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only what the code prints, and its result.")
    ] = False,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="RUNTIME",
            autocompletion=runtime_names,
            help="One of the configured runtimes; else the first.",
        ),
    ] = None,
    principal: PrincipalOption = None,
    role: RoleOption = None,
    tenant: TenantOption = None,
    allow: AllowOption = None,
    timeout: TimeoutOption = None,
    run_timeout: Annotated[
        float | None,
        typer.Option("--run-timeout", metavar="SECONDS", help="The longest that the code may run."),
    ] = None,
    call_timeout: CallTimeoutOption = None,
    max_tool_calls: Annotated[
        int | None,
        typer.Option(
            "--max-tool-calls", metavar="N", help="The most tool calls, refused ones too."
        ),
    ] = None,
) -> None:
    """Run an agent's code, and show what happens as it happens.

    Leaves with 0 when the code ended well, 1 when it failed, 2 for a mistake in the usage
    or the configuration, 3 when a limit was hit or there was no place, 130 after Ctrl-C.
    SIGHUP reads the configuration again, for the calls to come.
    """
    options = session_options(
        principal,
        role,
        tenant,
        allow,
        timeout=timeout,
        run_timeout=run_timeout,
        call_timeout=call_timeout,
        max_tool_calls=max_tool_calls,
    )
    path, code = config_paths(context, config), _read(file)
    show: Show = Ndjson() if json else Readable(quiet=quiet)

    async def command() -> int:
        async with opened(path) as setup:
            if not setup.settings.runtime:
                missing = ConfigError(
                    "no runtime is configured: install enclave-broker-monty and add"
                    ' [runtime] use = "monty"'
                )
                return complain(missing, json=json)
            try:
                session = await setup.broker.create_session(runtime=runtime, **options)
            except BrokerError as error:
                return complain(error, json=json)
            async with reloaded_by_hangup(setup):
                return await run_in(session, code, show, Progress(THE_CODE, wanted=not quiet))

    finish(command)


async def run_in(session: Session, code: str, show: Show, progress: Progress) -> int:
    """Run code in a session and show its events up to the final one; the exit code."""
    final: dict[str, Any] = {}
    async with (
        cancelled_by_signals(session) as interruption,
        progress.shown(),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_execute, session, code)
        try:
            async for event in session.events():
                if event.type == "final":
                    final = event.payload
                progress.clear()
                progress.event(event)
                show.event(event)
        except BrokenPipeError:
            # Raised here it would come out of the groups as a group.
            await session.cancel("nobody reads the output")
            return NO_READER
    if final.get("ok"):
        return OK
    return interruption.code(exit_code(final["error"]["code"]))


async def _execute(session: Session, code: str) -> None:
    try:
        await session.execute(code)
    except BrokerError as error:
        # The run did not even begin; the session still has to end, and says why.
        await session.end(error)


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode()
    except OSError as problem:
        raise typer.BadParameter(f"{file}: {problem.strerror}", param_hint="FILE") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is not UTF-8", param_hint="FILE") from None
