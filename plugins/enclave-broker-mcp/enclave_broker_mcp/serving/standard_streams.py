"""The process's stdin and stdout as the wire of one client, and of nobody else."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import anyio
import anyio.lowlevel

_log = logging.getLogger(__name__)

STDIN, STDOUT, STDERR = 0, 1, 2
CHUNK = 64 * 1024
# What a pipe that has room at all takes without waiting.
PIECE = 4096


class Lines:
    """Lines of UTF-8 from a file descriptor; reading is given up when it is cancelled.

    One of more than ``most`` bytes is dropped, and an empty one stands for it.
    """

    def __init__(self, fd: int, most: int) -> None:
        self._fd = fd
        self._most = most
        self._read = bytearray()
        self._looked = 0
        self._too_long = False

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        while True:
            line = self._next_line()
            if line is not None:
                return line.decode("utf-8", "replace")
            await _ready(anyio.wait_readable, self._fd)
            chunk = os.read(self._fd, CHUNK)
            if not chunk and not self._read:
                raise StopAsyncIteration
            self._read += chunk or b"\n"  # the last line may have no end

    def _next_line(self) -> bytes | None:
        end = self._read.find(b"\n", self._looked)
        if end < 0:
            if len(self._read) > self._most:
                self._too_long = True
                self._read.clear()
            self._looked = len(self._read)
            return None
        line = bytes(self._read[:end])
        del self._read[: end + 1]
        self._looked = 0
        if not self._too_long and len(line) <= self._most:
            return line
        self._too_long = False
        _log.warning("a message of more than %d bytes is dropped", self._most)
        return b""


class Output:
    """Writes text to a file descriptor; writing is given up when it is cancelled.

    ClosedResourceError when nobody reads any more.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def write(self, text: str) -> None:
        rest = memoryview(text.encode())
        while rest:
            await _ready(anyio.wait_writable, self._fd)
            try:
                written = os.write(self._fd, rest[:PIECE])
            except BrokenPipeError:
                raise anyio.ClosedResourceError from None
            rest = rest[written:]

    async def flush(self) -> None:
        """Nothing is kept back."""


@contextmanager
def standard_streams(most: int) -> Iterator[tuple[Any, Any]]:
    """What ``stdio_server`` of the SDK takes for stdin and stdout.

    In this block what is printed goes to stderr, and children that read stdin find its end. The
    SDK's own streams read in a thread that nothing can stop before the next line comes.
    """
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        with _diverted(STDIN, nothing) as reading, _diverted(STDOUT, STDERR) as writing:
            yield Lines(reading, most), Output(writing)
            sys.stdout.flush()
    finally:
        os.close(nothing)


@contextmanager
def _diverted(fd: int, instead: int) -> Iterator[int]:
    """Have ``fd`` lead elsewhere for a block; the descriptor that leads where it led."""
    kept = os.dup(fd)
    os.dup2(instead, fd)
    try:
        yield kept
    finally:
        os.dup2(kept, fd)
        os.close(kept)


async def _ready(wait: Callable[[Any], Awaitable[None]], fd: int) -> None:
    try:
        await wait(cast(Any, fd))
    except PermissionError:
        # A file, for which there is nothing to wait for.
        await anyio.lowlevel.checkpoint()
