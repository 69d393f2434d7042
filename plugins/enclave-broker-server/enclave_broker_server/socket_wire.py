"""The sending side of one WebSocket: one message at a time, until it is to be closed."""

from __future__ import annotations

import logging
from contextlib import suppress

import anyio
from starlette.types import Send

from enclave_broker_core import events
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.events import Event

from .settings import StreamSettings
from .streams import EventSource, written

_log = logging.getLogger(__name__)

POLICY_VIOLATION = 1008
TRY_AGAIN = 1013
# How long a reader that may be stuck has, in seconds, to take the last frame.
LAST_FRAME = 1.0


class SocketWire:
    """What goes to a client. Once that has gone nothing is sent any more, and nothing fails.

    ``ended`` is set when there is a reason to close, or when ``gone`` was called.
    """

    def __init__(self, send: Send, source: EventSource, settings: StreamSettings) -> None:
        self.ended = anyio.Event()
        self._send = send
        self._source = source
        self._settings = settings
        self._lock = anyio.Lock()
        self._broken = False
        self._sent = source.seq
        self._told_final = False
        self._closing: tuple[int, str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is any use in sending."""
        return not (self._broken or self.ended.is_set())

    async def event(self, event: Event) -> None:
        async with self._lock:
            await self._put(event.to_json())
            self._sent = event.seq
            self._told_final = event.type == "final"

    async def answer(self, text: bytes) -> None:
        async with self._lock:
            await self._put(text)

    async def error(self, code: str, message: str) -> None:
        """An event that is not in the log: like a heartbeat it has the seq of the last one.

        There is none after the final one.
        """
        async with self._lock:
            if self._told_final:
                return
            draft = events.error(message, code, recoverable=True)
            await self._put(Event(self._source.session.id, max(1, self._sent), *draft).to_json())

    def gone(self) -> None:
        """The client has left, and there is nothing more to read of what it sent."""
        self.ended.set()

    def end(self, code: int, reason: str) -> None:
        """Close the socket with this code; the first to say so is the one that counts."""
        if not self.ended.is_set():
            self._closing = code, reason
            self.ended.set()

    async def close(self) -> None:
        """Send the close frame, when it is the server that ends it."""
        if self._closing is None:
            return
        code, reason = self._closing
        with anyio.move_on_after(LAST_FRAME), suppress(OSError, RuntimeError):
            async with self._lock:
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _put(self, text: bytes) -> None:
        if not self.is_open:
            return
        message = {"type": "websocket.send", "text": text.decode()}
        try:
            fault = await written(self._send, message, self._source, self._sent, self._settings)
            keeps_up = fault is None
        except (OSError, RuntimeError):
            # The second is what uvicorn says when it has closed the socket by itself. What the
            # client sent before it left is still to be read, and then that it left.
            self._broken = True
            return
        except BrokerError:
            keeps_up = False  # it can't be told, and who is dropped can come back
        if not keeps_up:
            _log.warning("a reader of session %s is too slow: dropped", self._source.session.id)
            self.end(TRY_AGAIN, "too slow: come back, and replay")
