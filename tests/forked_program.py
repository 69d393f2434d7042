"""The program, run many times without the time that its imports take.

A process imports it once, and forks for each run. The run is a process of its own, with its
arguments, environment, directory and streams, which begins at ``main()`` and ends as any other.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile

SECONDS = 60
EXIT_BYTES = 4


class ForkedProgram:
    """Runs ``enclave-broker``, one run after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

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
            TemporaryFile("w+") as request,
            TemporaryFile("w+", encoding="utf-8") as given,
            TemporaryFile("w+", encoding="utf-8") as out,
            TemporaryFile("w+", encoding="utf-8") as err,
        ):
            json.dump([list(arguments), dict(environment), os.getcwd()], request)
            given.write(stdin)
            for file in (request, given):
                file.seek(0)
            last = out if merged else err
            sent = [file.fileno() for file in (request, given, out, last)]
            socket.send_fds(self._connection, [b"."], sent)
            end = self._connection.recv(EXIT_BYTES)
            assert end, "the process that forks has ended"
            code = int.from_bytes(end, signed=True)
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())


@contextmanager
def forked_program() -> Iterator[ForkedProgram]:
    """The process that forks, for as long as it is needed."""
    ours, theirs = socket.socketpair()
    with ours:
        command = [sys.executable, __file__, str(theirs.fileno())]
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
        end = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for file in files:
            os.close(file)
        connection.sendall(end.to_bytes(EXIT_BYTES, signed=True))


def _begin(request: int, *streams: int) -> None:
    signal.alarm(SECONDS)
    with os.fdopen(request) as file:
        arguments, environment, place = json.load(file)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(place)
    sys.path[0] = place
    sys.argv[1:] = arguments


if __name__ == "__main__":
    from enclave_broker_cli.main import main

    from enclave_broker_core import load_plugins

    load_plugins({})
    # Else the end of each run would go through all of it, and copy it.
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    main()
