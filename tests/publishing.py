"""What the tests of an issuer's URL share: its real server, and those who ask it."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
from enclave_broker_server.jwks import RemoteKeys, open_remote_keys
from enclave_broker_server.jwks_settings import JwksSettings
from issuers import jwks
from joserfc.jwk import Key

from enclave_broker_core.testing.fakes import Clock

SETTINGS = JwksSettings(cache_seconds=600, refetch_interval=30, stale_seconds=3600)


class Publisher:
    """A server on loopback that answers as it is told, and counts how often it is asked.

    ``arrived`` is released for each request. ``gate`` holds answers back while it is clear.
    An answer with ``endless`` bytes repeats them, one piece each ``pause`` seconds, until
    whoever asked has gone away.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b""
        self.endless = b""
        self.pause = 0.0
        self.asked: list[dict[str, str]] = []
        self.arrived = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/keys.json"

    def publish(self, *keys: Key) -> None:
        self.status, self.headers = 200, {}
        self.body = json.dumps(jwks(*keys)).encode()


@contextmanager
def publisher() -> Iterator[Publisher]:
    """A running server; at the end nothing of it is left."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append({name.lower(): value for name, value in self.headers.items()})
            state.arrived.release()
            state.gate.wait()
            try:
                self.send_response(state.status)
                for name, value in state.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(state.body)
                while state.endless:
                    self.wfile.write(state.endless)
                    threading.Event().wait(state.pause)
            except OSError:
                pass  # whoever asked has gone away

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    state = Publisher(server)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    try:
        yield state
    finally:
        state.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def opened(server: Publisher, clock: Clock, **changes: Any) -> AsyncIterator[RemoteKeys]:
    settings = JwksSettings.model_validate(SETTINGS.model_dump() | changes)
    async with open_remote_keys(server.url, settings, clock=clock) as keys:
        yield keys


async def asked(server: Publisher) -> None:
    """Wait until the server has got one more request."""
    await anyio.to_thread.run_sync(server.arrived.acquire)


async def kids(keys: RemoteKeys, kid: str | None = "rsa", algorithm: str = "RS256") -> list[Any]:
    return [key.kid for key in await keys.find(kid, algorithm)]
