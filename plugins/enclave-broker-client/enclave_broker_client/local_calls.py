"""Answers the calls of a session's client tools, for as long as the session is used."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from enclave_broker_core.errors import BrokerError

from .asking import Asking
from .driving import Driver
from .following import Following
from .refusals import Refusal
from .steps import Steps
from .streams import EventStream
from .toolbox import LocalCall, Toolbox, failure

_log = logging.getLogger(__name__)


class LocalCalls:
    """Follows the events of a session, and runs the handlers that they ask for."""

    def __init__(
        self,
        following: Following,
        toolbox: Toolbox,
        asking: Asking,
        driver: Callable[[], Driver],
        most: int,
    ) -> None:
        self._following = following
        self._toolbox = toolbox
        self._asking = asking
        self._driver = driver
        self._places = anyio.Semaphore(most)
        self._running: dict[str, anyio.CancelScope] = {}

    async def serve(self, tasks: TaskGroup) -> None:
        """Until the session has ended; handlers run in the task group."""
        async with EventStream(self._driver(), self._following) as events:
            async for event in events:
                if event.type == "tool_result_applied":
                    self._stop(event.payload["callId"])
                call = self._toolbox.see(event)
                if call is not None:
                    await self._places.acquire()
                    tasks.start_soon(self._handle, call, name=f"{call.name} {call.id}")

    def _stop(self, call_id: str) -> None:
        """Nobody waits for this answer any more."""
        scope = self._running.get(call_id)
        if scope is not None:
            scope.cancel()

    async def _handle(self, call: LocalCall) -> None:
        try:
            with anyio.CancelScope() as scope:
                self._running[call.id] = scope
                answer = await self._toolbox.answer(call)
                steps = answering(self._asking, self._following.session_id, call, answer)
                await self._driver().ask(steps)
        except BrokerError as problem:
            _log.warning("the answer to %s could not be sent: %s", call.id, problem.message)
        finally:
            del self._running[call.id]
            self._places.release()


def answering(asking: Asking, session_id: str, call: LocalCall, answer: bytes) -> Steps[None]:
    """Send an answer; when the server does not take it, that becomes the error of the call."""
    refused = yield from asking.answer(session_id, call.id, answer)
    if refused is not None and not _is_over(refused):
        said = failure(f"the answer was refused: {refused.error.message}")
        refused = yield from asking.answer(session_id, call.id, said)
    if refused is not None:
        _log.debug("the answer to %s was not taken: %s", call.id, refused.error.message)


def _is_over(refused: Refusal) -> bool:
    """Nobody waits for the answer any more, or has it from an attempt before."""
    return refused.status in (404, 409)
