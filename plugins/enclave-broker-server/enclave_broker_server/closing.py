"""Closes connections so that the other side can see why, and whatever it does about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

# How long, in seconds, what still comes is read and dropped: were the connection closed at
# once, the other side might be told of that before it has read the answer.
LINGER = 2.0
# How long, in seconds, nobody may take anything of what is left to send.
PATIENCE = 10.0
# Bytes that are held back for the end of a turn, and no more: who writes without an end is
# told to wait by the transport, and that sees only what it has been given.
MOST_HELD = 64 * 1024


class ClosingTransport:
    """A transport whose ``close`` always comes to an end; else it is the one that it wraps.

    What is written in one turn of the event loop goes out at its end, together: each write
    of its own is a call of the system, and those are a good part of what an answer costs.
    ``unfinished`` tells whether the other side is in the middle of sending something.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        unfinished: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._unfinished = unfinished
        self._closing = False
        self._held: list[bytes] = []
        self._held_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._closing:
            return
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > MOST_HELD:
            self._flush()

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        """Send what is left, then close; a reader that does not take it is cut off."""
        if self.is_closing():
            return
        self._flush()
        self._closing = True
        if self._unfinished() and self._transport.can_write_eof():
            self._transport.write_eof()
            self._transport.resume_reading()
            self._loop.call_later(LINGER, self._transport.close)
        else:
            self._transport.close()
        self._watch(None)

    def _flush(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))

    def _watch(self, before: int | None) -> None:
        left = self._transport.get_write_buffer_size()
        if left and left == before:
            self._transport.abort()
        elif left or before is None:
            self._loop.call_later(PATIENCE, self._watch, left)
