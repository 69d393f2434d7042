"""The tool calls that came over one WebSocket, and are under way."""

from __future__ import annotations

import logging

import anyio
from anyio.abc import TaskGroup

from enclave_broker_core.errors import BrokerError, RateLimitedError
from enclave_broker_core.session_handle import SessionHandle

from .answers import HttpError
from .socket_messages import CallMessage, tool_error, tool_result
from .socket_wire import SocketWire

_log = logging.getLogger(__name__)

RETRY_AFTER = 1.0


class SocketCalls:
    """Makes calls, up to ``most`` at a time, and answers each under its client's id.

    They are tasks of a group that outlives the connection: a call goes on when its client
    drops, and its outcome is in the events and in the history.
    """

    def __init__(
        self, session: SessionHandle, wire: SocketWire, tasks: TaskGroup, most: int
    ) -> None:
        self._session = session
        self._wire = wire
        self._tasks = tasks
        self._most = most
        self._under_way: dict[str, anyio.Event] = {}

    def __contains__(self, id: str) -> bool:
        """Whether a call of this id is under way."""
        return id in self._under_way

    def begin(self, call: CallMessage) -> None:
        """Make a call in the background. RateLimitedError when too many are under way."""
        count = len(self._under_way)
        if count >= self._most:
            raise RateLimitedError(
                f"{count} calls of this socket are under way, the most there may be",
                scope="socket",
                limit=self._most,
                retry_after=RETRY_AFTER,
            )
        self._under_way[call.id] = anyio.Event()
        self._tasks.start_soon(self._make, call, name=f"call of {self._session.id}")

    async def settled(self) -> None:
        """Return when none is under way, and each has been answered."""
        while self._under_way:
            await next(iter(self._under_way.values())).wait()

    async def _make(self, call: CallMessage) -> None:
        try:
            await self._wire.answer(await self._outcome(call))
        finally:
            self._under_way.pop(call.id).set()

    async def _outcome(self, call: CallMessage) -> bytes:
        try:
            data = await self._session.call(call.name, call.args, call_id=call.id)
        except BrokerError as error:
            return tool_error(call.id, error.to_wire())
        except Exception:
            _log.exception("a call of session %s failed", self._session.id)
            failed = HttpError(500, "something failed here", code="INTERNAL_ERROR")
            return tool_error(call.id, failed.body)
        return tool_result(call.id, data)
