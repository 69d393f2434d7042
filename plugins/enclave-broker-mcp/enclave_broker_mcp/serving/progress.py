"""What happens in a session while a request runs, told to the client that made it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.events import Event
from enclave_broker_core.session import Session

from .contexts import Context

# How long, in seconds, the answer waits for the last progress: the log has it already.
LAST_WORDS = 2.0

See = Callable[[Event], Coroutine[Any, Any, bool]]


class Progress:
    """Progress of one request: it only ever grows, whatever the events count."""

    def __init__(self, context: Context) -> None:
        self._session = context.session
        self._reached = 0.0

    async def tell(
        self, message: str, done: float | None = None, total: float | None = None
    ) -> None:
        """Bytes are told as such as long as they grow; what has no number is one step more."""
        following = self._reached + 1
        self._reached = done if done is not None and done > self._reached else following
        if total is not None and total < self._reached:
            total = None
        await self._session.report_progress(self._reached, total, message)

    async def of_tool(self, payload: dict[str, Any]) -> None:
        """A ``tool_progress`` event."""
        await self.tell(payload["phase"], payload.get("bytesReceived"), payload.get("totalBytes"))


class Followed:
    """Runs something in a session while its events are looked at.

    ``see`` is given each event from now on and says whether it was the last one of interest.
    """

    def __init__(self, session: Session, see: See) -> None:
        self._session = session
        self._see = see
        self._seen_all = anyio.Event()

    async def run(self, begin: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """What ``begin`` gives. Its BrokerErrors are raised as they are."""
        session = self._session
        start = await session.last_seq() + 1
        failure: BrokerError | None = None
        result: Any = None
        async with anyio.create_task_group() as tasks:
            try:
                running = begin()
                tasks.start_soon(self._follow, start)
                result = await running
                with anyio.move_on_after(LAST_WORDS):
                    await self._seen_all.wait()
            except BrokerError as error:
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return result

    async def _follow(self, start: int) -> None:
        try:
            async for event in self._session.events(start):
                if await self._see(event):
                    break
        except BrokerError:
            pass  # what can't be read can't be told; the call goes on
        finally:
            self._seen_all.set()
