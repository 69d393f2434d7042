"""How the server stops: nothing new is taken, and what runs has some time to come to its end."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator

import anyio

from enclave_broker_core.broker import Broker

from .draining import Draining

_log = logging.getLogger(__name__)

STOPS = (signal.SIGINT, signal.SIGTERM)
REASON = "the server is stopping"
# How often, in seconds, it is looked whether all sessions have ended.
GLANCE = 0.05


async def until_stopped(
    signals: AsyncIterator[signal.Signals], broker: Broker, draining: Draining, timeout: float
) -> None:
    """Wait for a signal; then for the sessions, up to ``timeout`` seconds or the next signal.

    Those that are left then are cancelled, and their streams say why.
    """
    await anext(signals)
    draining.begin()
    count = broker.stats().open_sessions
    if count:
        _log.warning("stopping: %d sessions may go on for %g s", count, timeout)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_signal, signals, tasks.cancel_scope)
        with anyio.move_on_after(timeout):
            while broker.stats().open_sessions:  # noqa: ASYNC110 - it counts, it tells nobody
                await anyio.sleep(GLANCE)
        tasks.cancel_scope.cancel()
    await broker.end_sessions(REASON)


async def _until_signal(signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()
