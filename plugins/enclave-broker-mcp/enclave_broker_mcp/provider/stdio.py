"""Speaks to a server that is a program, over its stdin and stdout, within bounds.

The SDK's own transport keeps a line of any length and logs what is no message; this one is
for programs that nobody here has read.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
from anyio.abc import AsyncResource, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, jsonrpc_message_adapter

from enclave_broker_core.redaction import Redactor

from .codes import FAILED, TOO_LARGE
from .ending import Ending
from .errors import ServerError
from .pace import Pace
from .stderr import pass_on, shown

_log = logging.getLogger(__name__)

# How long, in seconds, a program may leave its input unread, and how long it has to end.
UNREAD = 30.0
PARTING = 2.0
# How long after its output it may come to its end, for its code to be known.
LAST_WORD = 0.5
LAST_LINES = 5
_WAITING = 256
_POLL = 0.01
_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError, OSError)
_ID_AHEAD = re.compile(rb'\{"jsonrpc":\s*"2\.0",\s*"id":\s*(\d{1,15})[,}]')
_ID_BEHIND = re.compile(rb'"jsonrpc":\s*"2\.0",\s*"id":\s*(\d{1,15})\}\s*\Z')
_SHOWN = 200

Reading = MemoryObjectReceiveStream[SessionMessage | Exception]
Writing = MemoryObjectSendStream[SessionMessage]
_PipeT = TypeVar("_PipeT", bound=AsyncResource)


@dataclass
class Program:
    """How a server is started. No repr has its environment."""

    command: str
    args: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: str


@asynccontextmanager
async def run_program(
    program: Program, name: str, redactor: Redactor, max_bytes: int, ending: Ending
) -> AsyncIterator[tuple[Reading, Writing]]:
    """The messages of a program that runs as long as the block; it and its children end with it.

    ServerError when it can't be started.
    """
    try:
        process = await anyio.open_process(
            [program.command, *program.args],
            env=program.env,
            cwd=program.cwd,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "its arguments can't be passed"
        raise ServerError(f"{program.command} can't be started: {why}") from None
    # Nothing may wait between here and the block that ends it.
    arriving, reading = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    writing, leaving = anyio.create_memory_object_stream[SessionMessage](_WAITING)
    pipes = _Pipes(process, name, max_bytes, ending)
    newest: deque[bytes] = deque(maxlen=LAST_LINES)
    async with anyio.create_task_group() as tasks:
        try:
            tasks.start_soon(_errors, process, name, redactor, newest)
            tasks.start_soon(pipes.read, arriving)
            tasks.start_soon(pipes.write, leaving, arriving)
            yield reading, writing
        finally:
            ending.because("it was told to end")
            with anyio.CancelScope(shield=True):
                for stream in (reading, writing):
                    stream.close()
                by_itself = process.returncode
                await _stop(process)
            if by_itself and newest:
                said = " | ".join(shown(text, redactor) for text in newest)
                _log.warning("%s wrote at its end: %s", name, said)
            tasks.cancel_scope.cancel()


async def _errors(process: Process, name: str, redactor: Redactor, newest: deque[bytes]) -> None:
    with suppress(*_BROKEN):
        await pass_on(_piped(process.stderr), name, redactor, newest)


def _piped(stream: _PipeT | None) -> _PipeT:
    if stream is None:
        raise AssertionError("the program was started with pipes")
    return stream


class _Pipes:
    """The two directions between the program and the session."""

    def __init__(self, process: Process, name: str, max_bytes: int, ending: Ending) -> None:
        self._process = process
        self._name = name
        self._max_bytes = max_bytes
        self._ending = ending
        self._pace = Pace()
        self._garbage = 0

    async def read(self, arriving: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        """Pass on line by line; what is no message is dropped, what is too long not kept."""
        stream = _piped(self._process.stdout)
        pending, searched, skipping = bytearray(), 0, b""
        with arriving:
            with suppress(*_BROKEN):
                async for chunk in stream:
                    pending += chunk
                    while (end := pending.find(b"\n", searched)) >= 0:
                        text = bytes(pending[:end])
                        del pending[: end + 1]
                        searched = 0
                        if skipping:
                            text, skipping = (skipping + text)[-_SHOWN:], b""
                            message = self._too_large(_whose(text))
                            _log.warning("%s wrote more than it may at once", self._name)
                        else:
                            message = await self._message(text)
                        if message is not None:
                            await arriving.send(message)
                    searched = len(pending)
                    if len(pending) > self._max_bytes or (skipping and pending):
                        head = bytes(pending[:_SHOWN])
                        found = None if skipping else _whose(head)
                        if (answer := self._too_large(found)) is not None:
                            await arriving.send(answer)
                        skipping = bytes(pending[-_SHOWN:])
                        pending.clear()
                        searched = 0
                        await self._pace.spend()
            await _exited(self._process, LAST_WORD)
            code = self._process.returncode
            self._ending.because(
                "it closed its output" if code is None else f"it ended with the code {code}"
            )
        with suppress(anyio.EndOfStream, *_BROKEN):
            while True:  # else it might not get to its end for a full pipe
                await stream.receive()

    async def _message(self, text: bytes) -> SessionMessage | None:
        if len(text) > self._max_bytes:
            return self._too_large(_whose(text))
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(text, by_name=False))
        except ValueError:
            if (found := _whose(text)) is not None:
                return _refused(found, FAILED, "it is no answer that can be read")
            if text.strip():
                self._garbage += 1
                if self._garbage == 1:
                    _log.warning(
                        "%s writes to stdout what is no message; it is dropped", self._name
                    )
            await self._pace.spend()
            return None

    def _too_large(self, number: int | None) -> SessionMessage | None:
        """What a call gets whose answer was not read, if it can be seen whose it was."""
        if number is None:
            return None
        return _refused(number, TOO_LARGE, f"it has more than {self._max_bytes} bytes")

    async def write(
        self,
        leaving: MemoryObjectReceiveStream[SessionMessage],
        arriving: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        stream = _piped(self._process.stdin)
        with leaving:
            async for item in leaving:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                try:
                    with anyio.fail_after(UNREAD):
                        await stream.send(text.encode("utf-8", "replace") + b"\n")
                except TimeoutError:
                    self._ending.because(f"it has read nothing for {UNREAD:g} s")
                    break
                except _BROKEN:
                    break
        arriving.close()


def _whose(text: bytes) -> int | None:
    """The request whose answer this seems to be, as most servers write it."""
    found = _ID_AHEAD.match(text) or _ID_BEHIND.search(text[-_SHOWN:])
    return None if found is None else int(found[1])


def _refused(number: int, code: int, said: str) -> SessionMessage:
    error = ErrorData(code=code, message=said)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=error))


async def _stop(process: Process) -> None:
    """Close its input, wait, then end it and all that it started."""
    with suppress(*_BROKEN), anyio.move_on_after(PARTING):
        await _piped(process.stdin).aclose()
    await _exited(process, PARTING)
    if os.name == "posix":
        await terminate_posix_process_tree(process, PARTING)
    elif process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await _exited(process, PARTING)
    for stream in (process.stdout, process.stderr):
        with suppress(*_BROKEN):
            await _piped(stream).aclose()
    # On asyncio the transport stays open as long as a child that got away holds a pipe.
    transport = getattr(getattr(process, "_process", None), "_transport", None)
    if transport is not None:
        with suppress(PermissionError):
            transport.close()


async def _exited(process: Process, seconds: float) -> None:
    """Wait for its end, and not longer than so many seconds."""
    with anyio.move_on_after(seconds):
        # Not process.wait(): that also waits for children that hold the pipes.
        while process.returncode is None:  # noqa: ASYNC110
            await anyio.sleep(_POLL)
