"""The broker's end of one worker process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread

from .quickjs_worker import frames
from .quickjs_worker.watchdog import NUMBER

# Its folder is on the path only while the worker's own package is imported from it: the
# broker's packages, which take a quarter of a second to import, are not needed there.
START = """
import sys
sys.path.insert(0, sys.argv[1])
from quickjs_worker.main import main
del sys.path[0]
main(int(sys.argv[2]), int(sys.argv[3]))
"""
# A worker has no business with the rest of the environment, where secrets are.
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME", "PYTHONPATH", "PYTHONHOME")
PATIENCE = 60.0
"""Seconds in which a worker has to start, also where it has to compile WebAssembly first."""
ROOM = 64 * 1024
MOST_UNREAD = 4 * 1024 * 1024


class WorkerDiedError(Exception):
    """The process is gone."""


class Worker(asyncio.BufferedProtocol):
    """A process and what it has said. One run at a time uses it.

    ``build`` is the version of its sandbox, the same in all processes.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(ROOM)
        self._filled = 0
        self._frames: deque[tuple[bytes, bytes]] = deque()
        self._unread = 0
        self._reading = True
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._control = -1
        self._on_parked: Callable[[bytes | None], None] | None = None
        self.lost = False
        self.build = b""

    async def start(self) -> None:
        """Return when the process is ready to run code; WorkerDiedError."""
        self._socket, theirs = socket.socketpair()
        control, self._control = os.pipe()
        try:
            self._process = await anyio.to_thread.run_sync(_spawn, theirs.fileno(), control)
        finally:
            theirs.close()
            os.close(control)
        await self._loop.create_unix_connection(lambda: self, sock=self._socket)
        with anyio.move_on_after(PATIENCE):
            kind, self.build = await self.receive()
            if kind == frames.READY:
                return
        raise WorkerDiedError

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        if self._transport is not None and not self.lost:
            self._transport.write(frames.frame(kind, payload))

    async def receive(self) -> tuple[bytes, bytes]:
        """What the process says next; WorkerDiedError."""
        while not self._frames:
            if self.lost:
                raise WorkerDiedError
            self._waiter = self._loop.create_future()
            await self._waiter
        found = self._frames.popleft()
        self._unread -= len(found[1])
        if not self._reading and self._unread < MOST_UNREAD and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()
        return found

    def receive_nowait(self, kind: bytes) -> bytes | None:
        """What it says next when that has come already and is of this kind."""
        if self._frames and self._frames[0][0] == kind:
            payload = self._frames.popleft()[1]
            self._unread -= len(payload)
            return payload
        return None

    def park(self, parked: Callable[[bytes | None], None]) -> None:
        """Have it save the run that waits; ``parked`` gets what STATE has, None without."""
        if self.lost:
            parked(None)
            return
        self._on_parked = parked
        self.send(frames.PARK)

    def interrupt(self, number: int) -> None:
        """Stop a run that computes; what it does not hear is too late."""
        with contextlib.suppress(OSError):
            os.write(self._control, NUMBER.pack(number))

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def close(self) -> None:
        """Return when the process is gone."""
        with anyio.CancelScope(shield=True):
            if self._transport is not None:
                self._transport.close()
            elif self._socket is not None:
                self._socket.close()
            if self._control >= 0:
                os.close(self._control)
                self._control = -1
            if self._process is not None:
                self._process.kill()
                await anyio.to_thread.run_sync(self._process.wait)

    # As a protocol of asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        at = 0
        while self._filled - at >= frames.HEAD.size:
            kind, length = frames.HEAD.unpack_from(self._buffer, at)
            whole = frames.HEAD.size + length
            if length > frames.MAX_FRAME:
                self.kill()
                return
            if self._filled - at < whole:
                if whole > len(self._buffer):
                    self._buffer = self._buffer[at:] + bytearray(whole + at - len(self._buffer))
                    self._filled, at = self._filled - at, 0
                break
            self._frames.append((kind, bytes(self._buffer[at + whole - length : at + whole])))
            self._unread += length
            at += whole
        self._filled -= at
        if self._filled and at:
            self._buffer[: self._filled] = self._buffer[at : at + self._filled]
        elif not self._filled and len(self._buffer) > ROOM:
            self._buffer = bytearray(ROOM)
        if self._unread > MOST_UNREAD and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._wake()

    def _wake(self) -> None:
        if self._on_parked is not None and (self.lost or len(self._frames) > 1):
            parked, self._on_parked = self._on_parked, None
            state = None
            if self._frames and self._frames[0][0] == frames.STATE:
                state = self._frames[0][1]
            self._frames.clear()
            self._unread = 0
            parked(state)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _spawn(connection: int, control: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        [
            sys.executable,
            "-P",
            "-c",
            START,
            str(Path(__file__).parent),
            str(connection),
            str(control),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(connection, control),
        env={key: os.environ[key] for key in KEPT if key in os.environ},
        start_new_session=True,
    )
