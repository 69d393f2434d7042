"""Several processes that serve on the same sockets, and who looks after them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from socket import socket
from typing import Any

import anyio
from anyio.abc import Process
from pydantic import BaseModel

from .settings import ServerSettings
from .stopping import STOPS

_log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-m", "enclave_broker_server.worker")
FAILED = 1
# How long, in seconds, until one that died is started again.
PAUSE = 1.0
# How long, in seconds, one may take to stop besides the time that its sessions have.
STOPPING_TIME = 30.0


class Order(BaseModel):
    """What a worker is to do: it reads this from its stdin, whose end tells it to stop.

    ``sockets`` and ``ready`` are file descriptors that it inherits; it writes to ``ready``
    when it can be reached.
    """

    files: list[Path] | None
    given: dict[str, Any]
    ticket_key: str
    sockets: list[int]
    path: list[str]
    ready: int = -1


async def supervise(
    order: Order, settings: ServerSettings, sockets: Sequence[socket], ready: Callable[[], None]
) -> int:
    """Keep the workers running until a signal, and end with them; the exit code.

    One that dies is started again; when one can't even start at first, all end. ``ready`` is
    called when all can be reached.
    """
    crew = _Crew(order, settings.workers, ready)
    hangup = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()
    with anyio.open_signal_receiver(*STOPS, *hangup) as signals:
        async with anyio.create_task_group() as tasks:
            for number in range(settings.workers):
                tasks.start_soon(crew.keep, number)
            tasks.start_soon(_pass_on, signals, crew)
            tasks.start_soon(_stop_in_time, crew, sockets, settings.drain_timeout + STOPPING_TIME)
            await crew.ended.wait()
            tasks.cancel_scope.cancel()
    return crew.code


async def _pass_on(signals: AsyncIterator[signal.Signals], crew: _Crew) -> None:
    async for number in signals:
        if number in STOPS:
            crew.stopping.set()
            number = signal.SIGTERM
        crew.tell(number)


async def _stop_in_time(crew: _Crew, sockets: Sequence[socket], seconds: float) -> None:
    await crew.stopping.wait()
    for one in sockets:
        one.close()  # the workers have their own, and nobody is to wait for this process
    await anyio.sleep(seconds)
    _log.error("workers did not stop in %g s and are killed", seconds)
    crew.code = FAILED
    crew.ended.set()


class _Crew:
    """The workers, and what is to become of them."""

    def __init__(self, order: Order, count: int, ready: Callable[[], None]) -> None:
        self.stopping = anyio.Event()
        self.ended = anyio.Event()
        self.code = 0
        self._order = order
        self._missing = set(range(count))
        self._left = count
        self._ready = ready
        self._running: set[Process] = set()

    def tell(self, number: signal.Signals) -> None:
        for process in self._running:
            if process.returncode is None:
                process.send_signal(number)

    async def keep(self, number: int) -> None:
        """Run one worker, again and again, until all are to stop."""
        while not self.stopping.is_set():
            code, started = await self._run(number)
            if self.stopping.is_set():
                break
            if not started and number in self._missing:
                self.code = code if code > 0 else FAILED
                self.ended.set()
                return
            _log.error("a worker ended with %d and is started again", code)
            with anyio.move_on_after(PAUSE):
                await self.stopping.wait()
        self._left -= 1
        if not self._left:
            self.ended.set()

    async def _run(self, number: int) -> tuple[int, bool]:
        """Its exit code, and whether it came so far as to serve."""
        reading, writing = os.pipe()
        started = False
        try:
            order = self._order.model_copy(update={"ready": writing})
            # In a session of its own it gets no Ctrl-C but what is passed on.
            process = await anyio.open_process(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=None,
                stderr=None,
                start_new_session=True,
                pass_fds=(*order.sockets, writing),
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        try:
            async with process:
                self._running.add(process)
                if self.stopping.is_set():
                    process.terminate()
                with suppress(anyio.BrokenResourceError):
                    if process.stdin is not None:
                        await process.stdin.send(order.model_dump_json().encode() + b"\n")
                await anyio.wait_readable(reading)
                started = bool(os.read(reading, 1))
                if started:
                    self._came(number)
                return await process.wait(), started
        finally:
            self._running.discard(process)
            os.close(reading)

    def _came(self, number: int) -> None:
        if number in self._missing:
            self._missing.remove(number)
            if not self._missing:
                self._ready()
