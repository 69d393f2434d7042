"""Interrupts a run that computes too long, or that the broker wants to end."""

from __future__ import annotations

import os
import select
import struct
import time
from threading import Lock, Thread

from wasmtime import Engine

NUMBER = struct.Struct("<Q")
SHORTEST = 0.005


class Watchdog:
    """A thread beside the sandbox's, as a sandbox that computes hears nothing.

    Time is processor time: what a run waits for its tools does not count. ``control`` is a pipe
    on which the broker writes the number of the run that it wants to end; that it is closed
    means that the broker is gone, and then so is this process.
    """

    def __init__(self, engine: Engine, control: int) -> None:
        self._engine = engine
        self._control = control
        self._lock = Lock()
        self._number: int | None = None
        self._end = 0.0
        self._planned = 0.0
        self._poke, self._poked = os.pipe()
        self.out_of_time = False

    def start(self) -> None:
        Thread(target=self._watch, daemon=True).start()

    def begin(self, number: int, seconds: float) -> None:
        """Watch a run that may compute for so many seconds."""
        with self._lock:
            self._number = number
            self._end = time.process_time() + seconds
            self.out_of_time = False
            sooner = time.monotonic() + seconds < self._planned
        if sooner or not self._planned:
            os.write(self._poked, b"!")

    def end(self) -> None:
        """The run is over. When this returns nothing interrupts what follows."""
        with self._lock:
            self._number = None

    def _watch(self) -> None:
        while True:
            ready, _, _ = select.select([self._control, self._poke], [], [], self._wait())
            if self._poke in ready:
                os.read(self._poke, 64)
            if self._control in ready:
                data = os.read(self._control, NUMBER.size)
                if len(data) < NUMBER.size:
                    os._exit(0)
                self._interrupt(*NUMBER.unpack(data))

    def _wait(self) -> float | None:
        with self._lock:
            if self._number is None:
                self._planned = 0.0
                return None
            left = self._end - time.process_time()
            if left <= 0:
                self.out_of_time = True
                self._number = None
                self._engine.increment_epoch()
                self._planned = 0.0
                return None
            left = max(left, SHORTEST)
            self._planned = time.monotonic() + left
            return left

    def _interrupt(self, number: int) -> None:
        with self._lock:
            if number == self._number:
                self._engine.increment_epoch()
