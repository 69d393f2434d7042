"""What a process does that serves: opens the broker, listens, and serves until it is stopped."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from secrets import token_hex
from socket import socket
from typing import Any

import anyio
from pydantic import SecretStr
from pydantic_core import to_json

from enclave_broker_core.build import Setup, open_setup
from enclave_broker_core.errors import ConfigError
from enclave_broker_core.logs import LogSettings, set_up_logging
from enclave_broker_core.reloading import reloaded_by_hangup

from .app import create_app
from .draining import Draining
from .listening import allow_connections, is_loopback, listen, serving_at, url_of
from .settings import ServerSettings
from .stopping import STOPS, until_stopped
from .workers import Order, supervise

Files = list[Path] | None
Given = Mapping[str, Any]


def run(files: Files, given: Given, *, json: bool = False) -> int:
    """Serve a configuration until a signal; the exit code. ConfigError, PluginError.

    ``given`` goes over its ``[server]``.
    """
    return on_loop(partial(_serve, files, given, json))


def on_loop(command: Callable[[], Awaitable[int]]) -> int:
    """Run a command on the event loop of a server."""
    return anyio.run(command, backend_options={"use_uvloop": sys.platform != "win32"})


async def serve_here(
    setup: Setup, settings: ServerSettings, sockets: Sequence[socket], ready: Callable[[], None]
) -> None:
    """Serve in this process until a signal; ``ready`` is called when it can be reached."""
    draining = Draining(settings.drain_timeout)
    app = create_app(
        setup.broker,
        authenticators=setup.authenticators,
        settings=settings,
        routes=[route for routes in setup.routes for route in routes],
        draining=draining,
    )
    allow_connections(settings.limits.max_connections)
    # The signals go around all: one that comes while it closes must not break that off.
    with anyio.open_signal_receiver(*STOPS) as signals:
        async with reloaded_by_hangup(setup), serving_at(sockets, app, settings):
            ready()
            await until_stopped(signals, setup.broker, draining, settings.drain_timeout)


def settings_of(setup: Setup, given: Given) -> ServerSettings:
    """``[server]`` with what was given on the command line.

    ConfigError when everybody could get in and nobody wants that, and when there would be
    several processes, each with sessions of its own.
    """
    if not isinstance(setup.server, ServerSettings):
        raise ConfigError("another plugin's command has taken [server]; block that plugin")
    settings = setup.server.model_copy(update=dict(given))
    if is_open(settings, setup) and not settings.insecure:
        raise ConfigError(
            f"without [[authenticators]] it listens on loopback addresses only, and"
            f" {settings.host!r} is none: whoever reached it could run code and call every tool."
            " Configure one, or let everybody in with --insecure (insecure = true in [server])"
        )
    if settings.workers > 1 and not setup.broker.is_shared:
        raise ConfigError(
            f"{settings.workers} workers need a session store that they share, and"
            f" {setup.settings.store.use!r} is in the memory of one process: choose another"
            " in [store], or serve with one worker"
        )
    return settings


def is_open(settings: ServerSettings, setup: Setup) -> bool:
    """Whether others than the users of this machine could get in without saying who they are."""
    return not setup.authenticators and not is_loopback(settings.host)


def quiet_logging() -> None:
    """Until the configuration says how to log."""
    set_up_logging(LogSettings(level="warning"))


async def _serve(files: Files, given: Given, json: bool) -> int:
    quiet_logging()
    async with open_setup(files, environment=True) as setup:
        set_up_logging(setup.settings.logging)
        settings = settings_of(setup, given)
        if is_open(settings, setup):
            sys.stderr.write(
                f"WARNING: INSECURE: whoever reaches {settings.host!r} can run code and call"
                " every tool: no authenticator is configured\n"
            )
        sockets = listen(settings.host, settings.port)
        ready = partial(_announce, settings, sockets[0], json)
        if settings.workers == 1:
            await serve_here(setup, settings, sockets, ready)
            return 0
    # Nothing is wrong with it; each worker opens it for itself.
    key = settings.ticket_key or SecretStr(token_hex(32))
    order = Order(
        files=files,
        # The sockets are those of the configuration as it was now.
        given={**given, "host": settings.host, "workers": settings.workers},
        ticket_key=key.get_secret_value(),
        sockets=[one.fileno() for one in sockets],
        path=sys.path,
    )
    return await supervise(order, settings, sockets, ready)


def _announce(settings: ServerSettings, listening: socket, json: bool) -> None:
    address, port = listening.getsockname()[:2]
    host = settings.host or address
    url = url_of(host, port)
    sys.stderr.write(f"listening on {url}\n")
    sys.stderr.flush()
    if json:
        said = {"url": url, "host": host, "port": port, "workers": settings.workers}
        sys.stdout.buffer.write(to_json(said) + b"\n")
        sys.stdout.buffer.flush()
