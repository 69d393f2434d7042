"""``enclave-broker serve`` as processes that a test halts, kills and starts again.

They fork from one that has imported everything: a start takes a tenth of what it would. Run as
a program this file is that one. A process that is forked ends with the test run, however that
ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PID_BYTES = 4
# What a broker imports when it opens, and would import anew in each process.
IMPORTED = (
    "enclave_broker_memory.store",
    "enclave_broker_monty.runtime",
    "enclave_broker_redis.store",
    "enclave_broker_server.process",
    "uvloop",
)


class Forks:
    """The process that forks, for one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._one = threading.Lock()

    def fork(self, place: Path, arguments: list[str], *files: int) -> int:
        """The id of a process that runs the program there, with these as stdout and stderr."""
        with self._one:
            request = json.dumps([str(place), arguments]).encode()
            socket.send_fds(self._connection, [request], files)
            return int.from_bytes(self._connection.recv(PID_BYTES))


class BrokerProcess:
    """One broker, always on the same port. ``place`` is its directory, with its log."""

    def __init__(self, forks: Forks, place: Path, port: int) -> None:
        self._forks = forks
        self.place = place
        self.url = f"http://127.0.0.1:{port}"
        self.pid = 0
        self.serves = False
        self._arguments = ["serve", "--json", "--host", "127.0.0.1", "--port", str(port)]

    @property
    def log(self) -> str:
        return (self.place / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, and wait until it serves."""
        from redis_servers.endpoint import until

        assert not self.pid, "it is running"
        said = self.place / "said"
        with said.open("wb") as out, (self.place / "log").open("ab") as err:
            self.pid = self._forks.fork(self.place, self._arguments, out.fileno(), err.fileno())
        until(lambda: said.read_bytes().endswith(b"\n") or not self.runs, "a broker that serves")
        assert b'"url"' in said.read_bytes(), self.log
        self.serves = True

    @property
    def runs(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return self.pid != 0

    def tell(self, number: signal.Signals) -> None:
        assert self.pid, "it is not running"
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, also when it is halted; without effect when it has ended."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def stop(self) -> None:
        """End it as its operators do."""
        self.tell(signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        """Until it has ended."""
        from redis_servers.endpoint import until

        self.serves = False
        until(lambda: not self.runs, "a broker's end")
        self.pid = 0


@contextmanager
def broker_processes(
    place: Path, config: str, tools: str, count: int
) -> Iterator[list[BrokerProcess]]:
    """So many brokers with one configuration, which all serve; ``tools`` is a module."""
    from redis_servers.ports import reserved_port

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ExitStack() as stack:
        stack.enter_context(ours)
        forking = stack.enter_context(
            subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        )
        # With its end all that it has forked end.
        stack.callback(forking.kill)
        theirs.close()
        forks, brokers = Forks(ours), []
        for number in range(count):
            own = place / f"broker{number}"
            own.mkdir()
            (own / "broker.toml").write_text(config)
            (own / "tools.py").write_text(tools)
            port = stack.enter_context(reserved_port())
            brokers.append(BrokerProcess(forks, own, port))
            stack.callback(brokers[-1].kill)
        for broker in brokers:
            broker.start()
        yield brokers


def _serve(forks: socket.socket) -> None:
    """Return in each process that is forked, when all is as for a program that begins."""
    alive, lifeline = os.pipe()
    # Nobody waits for those that have ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, files, *_ = socket.recv_fds(forks, 65536, 2)
        if not request:
            sys.exit()
        child = os.fork()
        if child == 0:
            forks.close()
            os.close(lifeline)
            return _begin(request, files, alive)
        for file in files:
            os.close(file)
        forks.sendall(child.to_bytes(PID_BYTES))


def _begin(request: bytes, files: list[int], alive: int) -> None:
    place, arguments = json.loads(request)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)

    def end_with_the_other() -> None:
        os.read(alive, 1)
        os._exit(1)

    threading.Thread(target=end_with_the_other, daemon=True).start()
    os.environ.pop("ENCLAVE_BROKER_CONFIG", None)
    os.chdir(place)
    sys.path[0] = place
    sys.argv[1:] = arguments


if __name__ == "__main__":
    from enclave_broker_cli.main import main

    from enclave_broker_core import load_plugins

    load_plugins({})
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    main()
