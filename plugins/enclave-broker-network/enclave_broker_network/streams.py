"""An answer whose body is read as it comes, and may have no end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Self

from .decoding import Body
from .failures import failures_of
from .messages import Pairs


@dataclass(frozen=True, slots=True)
class OutboundStream:
    """An answer whose body has not been read. ``headers`` are in lower case."""

    status: int
    headers: Pairs = field(repr=False)
    body: AsyncIterator[bytes] = field(repr=False)

    def header(self, name: str) -> str | None:
        """A header's value, several joined by a comma; None when it is not there."""
        found = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(found) if found else None


class Decoded:
    """The decoded pieces of a body. No generator: one that is left would need a collector."""

    def __init__(self, pieces: AsyncIterator[bytes], decoder: Body, host: str) -> None:
        self._pieces = pieces
        self._decoder = decoder
        self._host = host
        self._parts: Iterator[bytes] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with failures_of(self._host):
            while True:
                # A part at a time: a small piece may be a large one when it is decoded.
                for part in self._parts:
                    return part
                try:
                    piece = await anext(self._pieces)
                except StopAsyncIteration:
                    self._decoder.end()
                    raise
                self._parts = self._decoder.feed(piece)
