"""One session on a server, on an event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from enclave_broker_core.calls import CallRecord, RunOutcome

from .connection import Connection
from .driving import Driver
from .models import SessionInfo, Ticket
from .options import Filter
from .streams import EventStream


class ClientSession:
    """A session, with its calls, its runs and its events. Holds no connection open.

    What the server refuses is raised: SessionNotFoundError when there is no such session for
    this caller, ConflictError for what does not go with its state.
    """

    def __init__(
        self, session_id: str, connection: Connection, driver: Callable[[], Driver]
    ) -> None:
        self.id = session_id
        self._connection = connection
        self._asking = connection.asking
        self._driver = driver

    async def call(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        repeat: bool = True,
    ) -> Any:
        """One tool call; its result. Raises what went wrong with it, as ``Session.call`` does.

        When the connection is lost the call is sent again with its idempotency key, one of its
        own unless one is given, so the tool runs once. Not so without ``repeat``: then that is
        a ConnectionLostError, and the tool may have run.
        """
        steps = self._asking.call(self.id, name, args, idempotency_key, repeat=repeat)
        return await self._driver().ask(steps)

    def execute(self, code: str, *, filter: Filter | None = None) -> EventStream:
        """Run code, and stream the run's events; ``outcome`` of the stream is how it ended.

        What an earlier run defined is still there. It is not sent again when nobody knows
        whether the server has had it: that is a ConnectionLostError.
        """
        following = self._connection.executing(self.id, code, filter)
        return EventStream(self._driver(), following)

    async def run(self, code: str) -> RunOutcome:
        """Run code; how it ended. What the code did wrong is in there, and not raised."""
        async with self.execute(code) as events:
            return await events.finish()

    def events(self, from_seq: int = 1, *, filter: Filter | None = None) -> EventStream:
        """The session's events from ``from_seq`` on, up to the final one."""
        return EventStream(self._driver(), self._connection.following(self.id, from_seq, filter))

    async def history(self) -> Sequence[CallRecord]:
        """The finished calls, oldest first."""
        return await self._driver().ask(self._asking.history(self.id))

    async def info(self) -> SessionInfo:
        """The session as it stands."""
        return await self._driver().ask(self._asking.info(self.id))

    async def ticket(self) -> Ticket:
        """What opens one stream or WebSocket of this session, once, to who can't send headers."""
        return await self._driver().ask(self._asking.ticket(self.id))

    async def cancel(self, reason: str = "cancelled by the client") -> None:
        """Stop all calls and runs and end the session; does nothing when it has ended."""
        await self._driver().ask(self._asking.cancel(self.id, reason))

    async def delete(self) -> None:
        """Cancel the session and have it forgotten, with its events and its history."""
        await self._driver().ask(self._asking.delete(self.id))

    def __repr__(self) -> str:
        return f"ClientSession({self.id!r})"
