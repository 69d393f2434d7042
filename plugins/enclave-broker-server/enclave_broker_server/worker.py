"""One of several processes that serve: ``python -m enclave_broker_server.worker``."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from socket import socket
from typing import NoReturn

import anyio
from pydantic import SecretStr

from enclave_broker_core.build import open_setup
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.logs import set_up_logging

from .process import on_loop, quiet_logging, serve_here, settings_of
from .workers import FAILED, Order

WRONG = 2


def main() -> NoReturn:
    """Do what the first line on stdin orders; the end of stdin is as good as SIGTERM."""
    order = Order.model_validate_json(sys.stdin.buffer.readline())
    sys.path[:] = order.path
    try:
        sys.exit(on_loop(partial(_work, order)))
    except BrokerError as error:
        sys.stderr.write(f"{error.code}: {error.message}\n")
        sys.exit(WRONG if error.code in ("CONFIG_ERROR", "PLUGIN_ERROR") else FAILED)


async def _work(order: Order) -> int:
    quiet_logging()
    given = {**order.given, "ticket_key": SecretStr(order.ticket_key)}
    async with open_setup(order.files, environment=True) as setup:
        set_up_logging(setup.settings.logging)
        settings = settings_of(setup, given)
        sockets = [socket(fileno=number) for number in order.sockets]
        async with anyio.create_task_group() as watching:
            watching.start_soon(_until_parent_gone)
            await serve_here(setup, settings, sockets, partial(_ready, order.ready))
            watching.cancel_scope.cancel()
    return 0


def _ready(writing: int) -> None:
    os.write(writing, b"1")
    os.close(writing)


async def _until_parent_gone() -> None:
    await anyio.wait_readable(sys.stdin.fileno())
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
