"""Between a transport and the session: what a server sends that nobody asked for is bounded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Self

import anyio
from anyio.abc import AsyncResource
from mcp.client._transport import ReadStream, WriteStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from .pace import Pace

_log = logging.getLogger(__name__)

# How many requests of the server's own may wait for their answers.
MOST_REQUESTS = 32

CANCELLED = "notifications/cancelled"
PROGRESS = "notifications/progress"
# The others are for parts of the protocol that are not used here.
WANTED = frozenset(
    {
        CANCELLED,
        PROGRESS,
        "notifications/subscriptions/acknowledged",
        "notifications/tools/list_changed",
    }
)


class Ledger:
    """Which requests of either side have no answer yet."""

    def __init__(self) -> None:
        self.asked: set[str] = set()  # by us
        self.asked_of_us = 0

    def sending(self, message: Any) -> None:
        if isinstance(message, JSONRPCRequest):
            self.asked.add(str(message.id))
        elif isinstance(message, JSONRPCNotification) and message.method == CANCELLED:
            # No answer is to come any more.
            self.asked.discard(str((message.params or {}).get("requestId")))

    def sent(self, message: Any) -> None:
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self.asked_of_us -= 1


class Incoming(AsyncResource):
    """What the session reads. ``ended`` is called once, when there will be no more."""

    def __init__(
        self,
        inner: ReadStream[SessionMessage | Exception],
        ledger: Ledger,
        pace: Pace,
        ended: Callable[[str], None],
    ) -> None:
        self._inner = inner
        self._ledger = ledger
        self._pace = pace
        self._ended = ended

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        while True:
            try:
                item = await self._inner.receive()
            except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                self._ended("")
                raise anyio.EndOfStream from None
            if isinstance(item, SessionMessage) and self._is_answer(item.message):
                return item
            await self._pace.spend()
            if not isinstance(item, SessionMessage):
                _log.debug("the transport could not read a message")
            elif self._is_wanted(item.message):
                return item

    def _is_answer(self, message: Any) -> bool:
        if not isinstance(message, JSONRPCResponse | JSONRPCError):
            return False
        known = str(message.id) in self._ledger.asked
        self._ledger.asked.discard(str(message.id))
        return known

    def _is_wanted(self, message: Any) -> bool:
        if isinstance(message, JSONRPCNotification):
            if message.method == PROGRESS:
                # A request's id is its token, too. Of what is over nobody needs to hear.
                return str((message.params or {}).get("progressToken")) in self._ledger.asked
            return message.method in WANTED
        if not isinstance(message, JSONRPCRequest):
            return False
        if self._ledger.asked_of_us >= MOST_REQUESTS:
            # It does not read the answers to what it has asked already.
            self._ended(f"it has asked more than {MOST_REQUESTS} things and reads no answer")
            raise anyio.EndOfStream
        self._ledger.asked_of_us += 1
        return True

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class Outgoing(AsyncResource):
    """What the session writes."""

    def __init__(self, inner: WriteStream[SessionMessage], ledger: Ledger) -> None:
        self._inner = inner
        self._ledger = ledger

    async def send(self, item: SessionMessage, /) -> None:
        self._ledger.sending(item.message)
        await self._inner.send(item)
        self._ledger.sent(item.message)

    async def aclose(self) -> None:
        await self._inner.aclose()
