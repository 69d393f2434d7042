"""A worker process: runs what it is given, one run at a time, and says what happens."""

from __future__ import annotations

import contextlib
import gc
import resource
import socket
import time
from typing import Any

from wasmtime import Trap, TrapCode, WasmtimeError

from . import frames, packing
from .bodies import has_top_level_return
from .compiled import make_engine
from .frames import frame
from .guest import Guest, NotASavedStateError
from .typescript import NotTypeScriptError, TypeScript
from .watchdog import Watchdog

TOP_LEVEL_RETURN = b"SyntaxError: return not in a function"
BODY = 'async function () {"use strict";%s\n}'
OUT_OF_MEMORY = b"InternalError: out of memory"
NEARLY = 0.75
"""Of the memory: code that has had as much and is stuck had not enough to raise an error."""


class _Exceeded(Exception):
    """The code has done too much of something; ``args[0]`` is the letter for what."""


class Worker:
    """Holds the sandbox. What it says goes out at once, but calls only when the code waits."""

    def __init__(self, connection: socket.socket, control: int) -> None:
        self._connection = connection
        self._input = connection.makefile("rb")
        engine = make_engine()
        self._guest = Guest(engine, self._said)
        self._typescript = TypeScript(engine)
        self._watchdog = Watchdog(engine, control)
        self._out: list[bytes] = []
        self._end: tuple[bytes, bytes] | None = None
        self._calls = self._output = self._pending = 0
        self._began = 0.0
        self._limits: dict[str, int] = {}

    def serve(self) -> None:
        """Until the broker is gone."""
        self._watchdog.start()
        # Nothing that is there now becomes garbage.
        gc.collect()
        gc.freeze()
        self._send(frame(frames.READY, self._guest.build))
        while True:
            kind, payload = self._receive()
            if kind == frames.RUN:
                self._run(*frames.unpack(payload))

    # Frames

    def _receive(self) -> tuple[bytes, bytes]:
        head = self._input.read(frames.HEAD.size)
        if len(head) < frames.HEAD.size:
            raise SystemExit(0)
        kind, length = frames.HEAD.unpack(head)
        return kind, self._input.read(length)

    def _send(self, *more: bytes) -> None:
        self._connection.sendall(b"".join((*self._out, *more)))
        self._out.clear()

    # Runs

    def _run(self, header: dict[str, Any], state: bytes) -> None:
        self._began = time.process_time()
        number, seconds = header["number"], header["seconds"]
        self._limits = {key: header[key] for key in ("memory", "result", "output", "calls")}
        self._calls, self._output, self._pending = (
            header["called"],
            header["printed"],
            header["pending"],
        )
        self._end = None
        kind, text, kept = self._to_the_end(number, seconds, header, state)
        if kept:
            self._out.append(self._state(compressed=False))
        self._send(frame(frames.END, kind + text))
        self._guest.reset()

    def _state(self, *, compressed: bool) -> bytes:
        used = frames.SECONDS.pack(time.process_time() - self._began)
        state = packing.raw(self._guest.save())
        return frame(frames.STATE, used + (packing.compressed(state) if compressed else state))

    def _to_the_end(
        self, number: int, seconds: float, header: dict[str, Any], state: bytes
    ) -> tuple[bytes, bytes, bool]:
        """How the run ended, with what text, and whether its state is wanted."""
        guest = self._guest
        try:
            if state:
                guest.restore(packing.unpacked(state))
            guest.limit(self._limits["memory"])
            guest.arm()
            self._watchdog.begin(number, seconds)
            resumed = "code" not in header
            if not resumed:
                self._begin(header["code"], last=header["last"])
            parked = self._wait_and_go_on(resumed=resumed)
        except (NotASavedStateError, packing.NotPackedError):
            return frames.NO_STATE, b"", False
        except _Exceeded as exceeded:
            return exceeded.args[0], b"", False
        except MemoryError:
            return frames.OUT_OF_MEMORY, b"", False
        except (Trap, WasmtimeError) as trap:
            return self._trapped(trap)
        finally:
            self._watchdog.end()
        if parked is not None:
            return parked, b"", parked == frames.PARKED
        assert self._end is not None  # noqa: S101
        kind, text = self._end
        if (kind == frames.RAISED and text.startswith(OUT_OF_MEMORY)) or (
            kind == frames.STUCK and guest.grown > NEARLY * self._limits["memory"]
        ):
            kind, text = frames.OUT_OF_MEMORY, b""
        return kind, text, kind in frames.KEEPS_STATE and not header["last"]

    def _wait_and_go_on(self, *, resumed: bool) -> bytes | None:
        """None when the code has come to its end; PARKED or STOPPED when the broker ends it."""
        while self._end is None:
            if self._pending == 0:
                self._end = frames.STUCK, b""
                return None
            if not resumed:  # else the broker knows
                self._send(frame(frames.WAITS))
            resumed = False
            kind, payload = self._receive()
            if kind == frames.ANSWERS:
                (answered,) = frames.COUNT.unpack_from(payload)
                self._pending -= answered
                self._guest.tell(payload[frames.COUNT.size :])
            elif kind == frames.SAVE:
                self._send(self._state(compressed=True))
                resumed = True
            elif kind == frames.PARK:
                return frames.PARKED
            elif kind == frames.STOP:
                return frames.STOPPED
        return None

    def _trapped(self, trap: Exception) -> tuple[bytes, bytes, bool]:
        code = trap.trap_code if isinstance(trap, Trap) else None
        if self._watchdog.out_of_time:
            return frames.OUT_OF_TIME, b"", False
        if code == TrapCode.INTERRUPT:
            return frames.STOPPED, b"", False
        if code in (TrapCode.STACK_OVERFLOW, TrapCode.MEMORY_OUT_OF_BOUNDS):
            return frames.TOO_DEEP, b"", False
        return frames.BROKEN, b"", False

    # Code

    def _begin(self, code: str, *, last: bool) -> None:
        """Run the code as the script, the function's body or the TypeScript that it is."""
        if has_top_level_return(code) and self._is_function(BODY % code):
            return
        source = code
        if not last and "const" in code:
            # A constant of this run may be one of the next as well.
            with contextlib.suppress(NotTypeScriptError):
                source = self._stripped(code, const_to_var=True)
        if self._is_script(source) or self._is_body(code):
            return
        refusal = self._end
        if not self._is_typescript(code):
            self._end = refusal

    def _is_typescript(self, code: str) -> bool:
        with contextlib.suppress(NotTypeScriptError):
            return self._is_script(self._stripped(code))
        with contextlib.suppress(NotTypeScriptError):
            return self._is_function(self._stripped("async function code() {" + code + "\n}"))
        return False

    def _is_script(self, source: str) -> bool:
        self._end = None
        if not self._guest.script(source.encode() or b";") and self._end is None:
            self._end = frames.SYNTAX, b"SyntaxError: there is a NUL in the code"
        return not self._is_refused()

    def _is_body(self, code: str) -> bool:
        if self._end is None or not self._end[1].startswith(TOP_LEVEL_RETURN):
            return False
        refusal = self._end
        if self._is_function(BODY % code):
            return True
        self._end = refusal
        return False

    def _is_function(self, source: str) -> bool:
        self._end = None
        self._guest.tell(b"f(" + source.encode() + b")")
        return not self._is_refused()

    def _is_refused(self) -> bool:
        return self._end is not None and self._end[0] == frames.SYNTAX

    def _stripped(self, code: str, *, const_to_var: bool = False) -> str:
        return self._typescript.strip(code, const_to_var=const_to_var)

    # What the sandbox says, while it runs

    def _said(self, message: bytes) -> None:
        kind = message[:1]
        if kind == b"c":
            self._calls += 1
            self._pending += 1
            if self._calls > self._limits["calls"]:
                raise _Exceeded(frames.TOO_MANY_CALLS)
            self._out.append(frame(frames.SAID, message))
        elif kind in (b"p", b"l"):
            self._output += len(message) - 1
            if self._output > self._limits["output"]:
                raise _Exceeded(frames.TOO_MUCH_OUTPUT)
            self._send(frame(frames.SAID, message))
        elif kind == frames.RESULT and len(message) - 1 > self._limits["result"]:
            self._end = frames.TOO_LARGE, b""
        else:
            self._end = kind, message[1:]


def main(connection: int, control: int) -> None:
    worker = Worker(socket.socket(fileno=connection), control)
    # A dump would hold what an agent's code had.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        worker.serve()
