"""The program, run many times without the time that its imports take.

A process imports it once, and forks for each run. The run is a process of its own, with its
arguments, environment, directory and streams, which begins at ``main()`` and ends as any other.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile

SECONDS = 60
NUMBER_BYTES = 4


class Started:
    """A run that may be going on."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = self._received()
        self._code: int | None = None

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; or the number of the signal that ended it, negative. TimeoutError."""
        if self._code is None:
            self._connection.settimeout(timeout)
            try:
                self._code = self._received()
            finally:
                self._connection.settimeout(None)
        return self._code

    def kill(self) -> None:
        if self._code is None:
            with suppress(ProcessLookupError):
                self.send_signal(signal.SIGKILL)
            self.wait()

    def _received(self) -> int:
        data = self._connection.recv(NUMBER_BYTES, socket.MSG_WAITALL)
        assert data, "the process that forks has ended"
        return int.from_bytes(data, signed=True)


class ForkedProgram:
    """Runs ``enclave-broker``, one run after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._last: Started | None = None

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdin: str = "",
        *,
        merged: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """One run up to its end, in the current directory. Its end is a signal after 60 s.

        ``merged`` is as ``2>&1``.
        """
        with (
            TemporaryFile("w+", encoding="utf-8") as given,
            TemporaryFile("w+", encoding="utf-8") as out,
            TemporaryFile("w+", encoding="utf-8") as err,
        ):
            given.write(stdin)
            given.seek(0)
            last = out if merged else err
            streams = [given.fileno(), out.fileno(), last.fileno()]
            code = self.start(arguments, environment, streams).wait()
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], streams: Sequence[int]
    ) -> Started:
        """One run, which has these three streams; a terminal as stdin is its own.

        It begins when the one before has ended.
        """
        if self._last is not None:
            self._last.wait()
        with TemporaryFile("w+") as request:
            json.dump([list(arguments), dict(environment), os.getcwd()], request)
            request.seek(0)
            socket.send_fds(self._connection, [b"."], [request.fileno(), *streams])
            self._last = Started(self._connection)
        return self._last


@contextmanager
def forked_program(*modules: str) -> Iterator[ForkedProgram]:
    """The process that forks, for as long as it is needed.

    ``modules`` are some that each run would else import by itself.
    """
    ours, theirs = socket.socketpair()
    with ours:
        command = [sys.executable, __file__, str(theirs.fileno()), *modules]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL) as it:
            theirs.close()
            yield ForkedProgram(ours)
            ours.close()
            assert it.wait(SECONDS) == 0


def _serve(connection: socket.socket) -> None:
    """Return in each process that is forked, when all is as for a program that begins."""
    while True:
        more, files, *_ = socket.recv_fds(connection, 1, 4)
        if not more:
            sys.exit()
        child = os.fork()
        if child == 0:
            connection.close()
            return _begin(*files)
        connection.sendall(child.to_bytes(NUMBER_BYTES, signed=True))
        for file in files:
            os.close(file)
        end = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        connection.sendall(end.to_bytes(NUMBER_BYTES, signed=True))


def _begin(request: int, *streams: int) -> None:
    signal.alarm(SECONDS)
    with os.fdopen(request) as file:
        arguments, environment, place = json.load(file)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if os.isatty(0):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Whether they are a terminal is found when they are opened.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(place)
    sys.path[0] = place
    sys.argv[1:] = arguments


if __name__ == "__main__":
    from enclave_broker_cli.main import main

    from enclave_broker_core import load_plugins

    load_plugins({})
    for name in sys.argv[2:]:
        importlib.import_module(name)
    # Else the end of each run would go through all of it, and copy it.
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    main()
