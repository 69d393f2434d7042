"""Ports that nobody else takes, also while nothing listens on them."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
# Below the ports that systems give to outgoing connections, and so is the bus of a cluster.
RANGE = range(11_000, 20_000)
BUS = 10_000


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port whose server may stop and start again, with the one above it for a cluster's bus.

    A lock on a file keeps it from all others who ask here, in any process.
    """
    locks = Path(tempfile.gettempdir()) / f"enclave-test-ports-{os.getuid()}"
    locks.mkdir(exist_ok=True)
    for port in random.sample(RANGE, len(RANGE)):
        with (locks / str(port)).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            if not (_free(port) and _free(port + BUS)):
                continue
            yield port
            return
    raise AssertionError(f"all ports from {RANGE.start} to {RANGE.stop} are in use")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections that have ended there do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
