"""Listens on an address, and has uvicorn serve an application there for the time of a block."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import resource
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.types import ASGIApp

from enclave_broker_core.errors import ConfigError

from .protocol import http_protocol
from .settings import ServerSettings
from .socket_protocol import BoundedSocket

BACKLOG = 2048
# Files that a process has open besides its connections: sandboxes, stores, upstreams.
OTHER_FILES = 1000
# How long, in seconds, answers that are under way at the end may take to come to theirs.
FINISHING_TIME = 5


def addresses_of(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """The addresses that a name stands for; all of this machine's for "". ConfigError."""
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as problem:
        raise ConfigError(f"can't listen on {host!r}: {problem.strerror or problem}") from None
    addresses = {(family, (str(at[0]), int(at[1]))): None for family, _, _, _, at in found}
    return list(addresses)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it: true of all the addresses of the name."""
    return all(
        ipaddress.ip_address(address.partition("%")[0]).is_loopback
        for _, (address, _) in addresses_of(host, 0)
    )


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets on all addresses of a name, on one port; 0 is any. ConfigError when one is taken."""
    sockets: list[socket.socket] = []
    for family, (address, wanted) in addresses_of(host, port):
        try:
            sockets.append(
                socket.create_server((address, wanted or port), family=family, backlog=BACKLOG)
            )
        except OSError as problem:
            for opened in sockets:
                opened.close()
            raise ConfigError(
                f"can't listen on {url_of(address, wanted)}: {problem.strerror}"
            ) from None
        port = port or sockets[0].getsockname()[1]
    return sockets


def url_of(host: str, port: int) -> str:
    """The base URL of a server there."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Signals are for who runs it, who is told as soon as it takes connections."""

    def __init__(self, config: uvicorn.Config, status: TaskStatus[_Server]) -> None:
        super().__init__(config)
        self._status = status

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._status.started(self)


@asynccontextmanager
async def serving_at(
    sockets: Sequence[socket.socket], app: ASGIApp, settings: ServerSettings
) -> AsyncIterator[None]:
    """Serve while the block lasts; then what is being answered has a few seconds to end.

    The sockets are closed then. What begins to be answered later than that is cancelled.
    """
    config = uvicorn.Config(
        app,
        http=http_protocol(settings.limits),
        ws=BoundedSocket,
        ws_max_size=settings.sockets.max_message_bytes,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=math.ceil(settings.limits.idle_timeout),
        timeout_graceful_shutdown=FINISHING_TIME,
    )
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        server: _Server = await tasks.start(_serve, config, sockets)
        # Its errors are the caller's: no task group is to wrap them into a group.
        unwrapped = stack.pop_all()
    try:
        yield
    finally:
        server.should_exit = True
        await unwrapped.aclose()


async def _serve(
    config: uvicorn.Config, sockets: Sequence[socket.socket], *, task_status: TaskStatus[_Server]
) -> None:
    # It ends when it is told to; if it were cancelled it would leave its sockets open.
    with anyio.CancelScope(shield=True):
        server = _Server(config, task_status)
        await server.serve(list(sockets))
        if server.server_state.tasks:
            await asyncio.wait(server.server_state.tasks, timeout=FINISHING_TIME)


def allow_connections(count: int) -> None:
    """Let this process have so many connections, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems have a lower bound yet, and do not say which.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
