"""Servers that let in only who has a password, a user's name or the right protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from .endpoint import Endpoint
from .server import Server, own_server

USER = "broker"
ADMIN_PASSWORD = "word-of-the-admin"
PASSWORD = "word-of-the-broker"


@dataclass(frozen=True)
class Guarded:
    """A server that asks for a password. ``admin`` may do everything; ``user`` only what
    its rules say."""

    admin: Server
    user: Endpoint

    def allow(self, rules: str) -> None:
        """Add to what the user may, as ``ACL SETUSER`` has it: ``"+info"``."""
        self.admin.do("ACL", "SETUSER", USER, *rules.split())


@contextmanager
def own_guarded(rules: str) -> Iterator[Guarded]:
    """A server with a password, and a user who may what ``rules`` say and nothing else.

    They are those of ``ACL SETUSER``: ``"~prefix:* &prefix:* +evalsha +get"``.
    """
    with own_server(
        f"requirepass {ADMIN_PASSWORD}",
        f"user {USER} on >{PASSWORD} resetkeys resetchannels -@all {rules}",
        password=ADMIN_PASSWORD,
    ) as server:
        at = urlsplit(server.url)
        yield Guarded(server, Endpoint(f"redis://{USER}:{PASSWORD}@{at.hostname}:{at.port}"))
