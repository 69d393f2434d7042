"""What the command does: opens the broker, and serves it on stdin and stdout until it is told."""

from __future__ import annotations

import getpass
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskStatus
from pydantic import ValidationError

from enclave_broker_core.build import open_setup
from enclave_broker_core.config import Config
from enclave_broker_core.errors import ConfigError
from enclave_broker_core.logs import LogSettings, set_up_logging
from enclave_broker_core.models import Principal
from enclave_broker_core.reloading import reloaded_by_hangup

from .settings import HttpConfig, ServingConfig
from .stdio import serve_stdio


@dataclass(frozen=True)
class Order:
    """What the command line says. ``given`` goes over the table of ``[[routes]]``."""

    files: list[Path] | None = None
    principal: str | None = None
    roles: frozenset[str] = frozenset()
    tenant: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)


def run(order: Order) -> int:
    """Serve until stdin ends or a signal comes; the exit code. ConfigError, PluginError."""
    set_up_logging(LogSettings(level="warning"))
    anyio.run(_serve, order)
    return 0


async def _serve(order: Order) -> None:
    failure: BaseException | None = None
    async with open_setup(order.files, environment=True) as setup:
        set_up_logging(setup.settings.logging)
        config, principal = serving_config(setup.settings, order.given), principal_of(order)
        async with anyio.create_task_group() as tasks, reloaded_by_hangup(setup):
            await tasks.start(_until_signal, tasks.cancel_scope)
            try:
                await serve_stdio(config, setup.broker, principal)
            except Exception as problem:
                failure = problem  # told as it is, and not as one of a group
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def serving_config(settings: Config, given: Mapping[str, Any]) -> ServingConfig:
    """The first table of ``[[routes]]`` for MCP, with what was given over it. ConfigError."""
    tables = (route.rest for route in settings.routes if route.use == "mcp")
    table = HttpConfig.model_validate(next(tables, {}))
    common = {name: getattr(table, name) for name in ServingConfig.model_fields}
    try:
        return ServingConfig.model_validate({**common, **given})
    except ValidationError as problem:
        [first, *_] = problem.errors(include_url=False, include_input=False)
        raise ConfigError(f"{first['loc'][0]}: {first['msg']}") from None


def principal_of(order: Order) -> Principal:
    """Who calls: as the command line says, else the user whose process it is. ConfigError."""
    try:
        return Principal(id=order.principal or _user(), roles=order.roles, tenant=order.tenant)
    except ValidationError as problem:
        [first, *_] = problem.errors(include_url=False, include_input=False)
        raise ConfigError(f"the principal's {first['loc'][0]}: {first['msg']}") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run with a number that has no name
        return f"uid-{os.getuid()}"


async def _until_signal(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        await anext(signals)
        scope.cancel()
