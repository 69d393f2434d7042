"""Shows a session's events up to the final one, and what that says of the exit code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.events import Event

from .exits import NO_READER, OK, exit_code
from .opening import Cancellable, cancelled_by_signals
from .progress import Progress
from .show import Show


async def show_all(
    session: Cancellable, events: AsyncIterator[Event], show: Show, progress: Progress
) -> int:
    """Show the events; the exit code. Signals, and nobody to read, cancel the session.

    Raises what ends the events before the final one.
    """
    final: dict[str, Any] = {}
    # Raised inside of them errors would come out of the task groups as groups.
    problem: BrokerError | None = None
    async with cancelled_by_signals(session) as interruption, progress.shown():
        try:
            async for event in events:
                if event.type == "final":
                    final = event.payload
                progress.clear()
                progress.event(event)
                show.event(event)
        except BrokenPipeError:
            await session.cancel("nobody reads the output")
            return NO_READER
        except BrokerError as error:
            problem = error
    if problem is not None:
        raise problem
    if final.get("ok"):
        return OK
    return interruption.code(exit_code(final["error"]["code"]))
