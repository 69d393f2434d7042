"""``enclave-broker run``: runs an agent's code and shows what happens."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from enclave_broker_core.errors import BrokerError, ConfigError
from enclave_broker_core.reloading import reloaded_by_hangup
from enclave_broker_core.session import Session

from .names import runtime_names
from .opening import finish, opened
from .options import (
    AllowOption,
    CallTimeoutOption,
    ConfigOption,
    PrincipalOption,
    RoleOption,
    TenantOption,
    TimeoutOption,
    here_or_above,
    refuse_local,
    session_options,
)
from .paths import config_paths
from .progress import Progress
from .reporting import complain
from .show import Ndjson, Readable, Show
from .showing import show_all

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
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Run it on the server there, and not here."),
    ] = None,
    token_env: Annotated[
        str | None,
        typer.Option(
            "--token-env", metavar="NAME", help="The variable with the token for the server."
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
    SIGHUP reads the configuration again, for the calls to come. With --url the code runs on
    the server there, with its configuration.
    """
    if url is not None:
        refuse_local(context)
    elif token_env is not None:
        raise typer.BadParameter("a token is for a server: --url", param_hint="--token-env")
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
    code = _read(file)
    show: Show = Ndjson() if json else Readable(quiet=quiet)
    progress = Progress(THE_CODE, wanted=not quiet)

    async def here() -> int:
        async with opened(config_paths(context, config)) as setup:
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
                return await run_in(session, code, show, progress)

    async def there(url: str) -> int:
        # It brings an HTTP client along: who runs code here is not to wait for that.
        from .remote import run_at

        wanted = options if runtime is None else {**options, "runtime": runtime}
        return await run_at(url, token_env, code, show, progress, wanted, json=json)

    finish(here if url is None else partial(there, url))


async def run_in(session: Session, code: str, show: Show, progress: Progress) -> int:
    """Run code in a session and show its events up to the final one; the exit code."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_execute, session, code)
        leaves_with = await show_all(session, session.events(), show, progress)
    return leaves_with  # noqa: RET504  # for mypy the group may swallow an error


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
