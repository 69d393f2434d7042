"""Opens the provider ``mcp``: how its server is reached, and the task that keeps it so."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from mcp.client.stdio import get_default_environment

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import PluginError
from enclave_broker_core.redaction import Redactor

from .config import McpConfig
from .connection import Connection, connect
from .ending import Ending
from .pins import PinFile
from .provider import McpProvider
from .sdk_logs import discreet
from .stdio import Program, run_program
from .values import revealed
from .web import reach

# How long, in seconds, a server may take to hear that it is not needed any more.
PARTING = 5.0


@asynccontextmanager
async def open_server(config: McpConfig, context: OpenContext) -> AsyncIterator[McpProvider]:
    """The tools of one server. PluginError when it is required and does not start."""
    redactor = Redactor()

    @asynccontextmanager
    async def connection() -> AsyncIterator[Connection]:
        ending = Ending()
        if config.command is None:
            transport = reach(config, context, redactor, ending)
        else:
            program = await _program(config.command, config, context, redactor)
            most = config.max_message_bytes
            transport = run_program(program, config.name, redactor, most, ending)
        async with connect(transport, config, context.base_dir, redactor, ending) as made:
            yield made

    provider = McpProvider(config, connection, PinFile.of(config, context.base_dir), redactor)
    failed: Exception | None = None
    with discreet(redactor):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(provider.keeper.run)
            tasks.start_soon(provider.follow_pins)
            await provider.keeper.tried.wait()
            if config.required and provider.health.state != "healthy":
                failed = PluginError(f"{config.name} can't be used: {provider.health.reason}")
            else:
                try:
                    yield provider
                except Exception as problem:
                    failed = problem
            with anyio.move_on_after(PARTING, shield=True):
                await provider.keeper.close()
            tasks.cancel_scope.cancel()
    # Here, as the task group would make a group of it.
    if failed is not None:
        raise failed


async def _program(
    command: str, config: McpConfig, context: OpenContext, redactor: Redactor
) -> Program:
    env = get_default_environment()
    env |= {name: os.environ[name] for name in config.inherit_env if name in os.environ}
    for name, value in config.env.items():
        env[name] = await revealed(value, context.secret, redactor)
    return Program(command, config.args, env, str(Path(context.base_dir, config.cwd or ".")))
