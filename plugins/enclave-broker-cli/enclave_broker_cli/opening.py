"""Opens the broker of a command, and brings its errors and signals to an end."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio
import typer
from anyio.abc import TaskStatus

from enclave_broker_core.build import Setup, open_setup
from enclave_broker_core.logs import LogSettings, set_up_logging

from .exits import NO_READER, SIGNAL


def finish(command: Callable[[], Awaitable[int]]) -> None:
    """Run a command on an event loop and leave with its exit code."""
    code = NO_READER
    try:
        code = anyio.run(command)
    # Task groups may hold it.
    except* BrokenPipeError:
        pass
    raise typer.Exit(code)


@asynccontextmanager
async def opened(config: list[Path] | None) -> AsyncIterator[Setup]:
    """The broker of some files and the environment, with its logging on stderr."""
    set_up_logging(LogSettings(level="warning"))
    async with open_setup(config, environment=True) as setup:
        if config is not None or "logging" in setup.settings.model_fields_set:
            set_up_logging(setup.settings.logging)
        yield setup


@dataclass
class Interruption:
    """The signal that came while the block ran; 0 when none did."""

    signal: int = 0

    def code(self, otherwise: int) -> int:
        return SIGNAL + self.signal if self.signal else otherwise


class Cancellable(Protocol):
    """A session, wherever it is."""

    async def cancel(self, reason: str) -> None: ...


@asynccontextmanager
async def cancelled_by_signals(session: Cancellable) -> AsyncIterator[Interruption]:
    """In this block SIGINT and SIGTERM cancel the session. A second one ends the program."""
    seen = Interruption()
    async with anyio.create_task_group() as tasks:
        await tasks.start(_watch, session, seen)
        yield seen
        tasks.cancel_scope.cancel()


async def _watch(
    session: Cancellable, seen: Interruption, *, task_status: TaskStatus[None]
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            seen.signal = number
            break
    await session.cancel(f"interrupted by {signal.Signals(seen.signal).name}")
