"""A server of one's own, which can be stopped, started, halted and killed."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .endpoint import PATIENCE, Endpoint, until
from .ports import HOST, reserved_port
from .program import server_program

# Nothing is kept: a server that starts again has an empty memory.
USUAL = ("bind 127.0.0.1", "daemonize no")
KEEPS_NOTHING = ('save ""', "appendonly no", "repl-diskless-sync-delay 0")


class ServerFailed(Exception):
    """A server ended instead of starting; the text is its log."""


class Server(Endpoint):
    """A server's process. ``place`` is its directory, with its ``server.conf`` and ``log``."""

    def __init__(
        self,
        command: tuple[str, ...],
        place: Path,
        port: int,
        *,
        tls: Mapping[str, Any] | None = None,
        user: str = "",
        password: str = "",
    ) -> None:
        scheme = "rediss" if tls else "redis"
        who = f"{user}:{password}@" if password else ""
        super().__init__(f"{scheme}://{who}{HOST}:{port}", tls)
        self.place, self.host, self.port = place, HOST, port
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.place / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it, on the port that it had before, and wait until it answers."""
        assert self._process is None, "the server is running"
        with (self.place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        # Its input ends also when the test run is killed: no server outlives that.
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", f"read line || kill -9 {self.pid}"],
            stdin=subprocess.PIPE,
            process_group=0,
        )
        try:
            until(self._answers, f"an answer from port {self.port}")
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it as its operators do."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, also when it is halted; without effect when it has ended."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Halt it: connections stay and can be made, and nothing is answered."""
        self._tell(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, with all that has come meanwhile."""
        self._tell(signal.SIGCONT)

    def _tell(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(number)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise ServerFailed(self.log)
        return bool(self.do("PING"))

    def _end(self, number: signal.Signals) -> None:
        process, watcher = self._process, self._watcher
        self._process = self._watcher = None
        if watcher is not None:
            watcher.communicate(b"\n")
        if process is not None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.wait()


@contextmanager
def own_server(
    *directives: str,
    sentinel: bool = False,
    tls: Mapping[str, Any] | None = None,
    user: str = "",
    password: str = "",
) -> Iterator[Server]:
    """A server that runs, for one test: ``with own_server("maxmemory 1mb") as server``.

    ``directives`` are lines of its configuration. ``tls`` is for its clients, and so are
    ``user`` and ``password``. A test that finds no server to start is skipped.
    """
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enclave-redis-")))
        ports = (f"tls-port {port}", "port 0") if tls else (f"port {port}",)
        lines = [*USUAL, *(() if sentinel else KEEPS_NOTHING), *ports, *directives]
        (place / "server.conf").write_text("\n".join(lines) + "\n")
        command = [str(server_program()), str(place / "server.conf")]
        if sentinel:
            command.append("--sentinel")
        server = Server(tuple(command), place, port, tls=tls, user=user, password=password)
        stack.callback(server.kill)
        server.start()
        yield server
