"""SIGHUP has a running program read its configuration again."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskStatus

from .build import Setup
from .errors import BrokerError

_log = logging.getLogger(__name__)


@asynccontextmanager
async def reloaded_by_hangup(setup: Setup) -> AsyncIterator[None]:
    """In this block SIGHUP reloads; what is wrong is logged and the old configuration kept.

    Calls under way finish as they began. Where there is no SIGHUP nothing is done.
    """
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    async with anyio.create_task_group() as tasks:
        await tasks.start(_watch, setup)
        yield
        tasks.cancel_scope.cancel()


async def _watch(setup: Setup, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            try:
                await setup.reload()
            except BrokerError as error:
                _log.error("the configuration stays as it was: %s", error.message)
            except Exception:
                _log.exception("the configuration stays as it was: it could not be reloaded")
            else:
                _log.warning("the configuration was read again and holds from now on")
