"""A server as its clients see it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import redis

PATIENCE = 30.0


class Endpoint:
    """Where a server is. ``tls`` is what redis-py wants besides the URL, of which the names
    begin with ``ssl_``."""

    def __init__(self, url: str, tls: Mapping[str, Any] | None = None) -> None:
        self.url = url
        self.tls = dict(tls or {})

    def client(self, **options: Any) -> redis.Redis:
        """A connection for the test itself: ``with server.client() as client``."""
        usual = {"decode_responses": True, "socket_timeout": PATIENCE, "retry": None, **self.tls}
        return redis.Redis.from_url(self.url, **(usual | options))

    def do(self, *command: object) -> Any:
        """The answer to one command, on a connection of its own."""
        with self.client() as client:
            return client.execute_command(*command)


def until(reached: Callable[[], object], what: str) -> None:
    """Ask again and again, until it is so; a server that does not answer may do so later."""
    end = time.monotonic() + PATIENCE
    while not _is_so(reached):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


def _is_so(reached: Callable[[], object]) -> bool:
    try:
        return bool(reached())
    except (redis.ConnectionError, redis.TimeoutError):
        return False
