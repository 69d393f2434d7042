"""Whether a web page, and under which name, may come to this server."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import Scope

from .answers import Header, HttpError
from .body import header
from .settings import ServerSettings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
METHODS = b"GET, POST, DELETE, OPTIONS"
HEADERS = b"Content-Type, Accept, Authorization, Last-Event-ID, Idempotency-Key"
SHOWN = b"X-Session-ID, X-Run-ID, X-First-Seq, X-Refused, X-Request-ID, Retry-After"
REMEMBERED = b"600"


class Origins:
    """The names of the server, and the origins of pages that may use it.

    Without this a page that somebody looks at could reach a broker on the loopback address,
    by its address or by a name of its own that resolves to it.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._any_host = "*" in settings.hosts
        self._hosts = {*LOOPBACK, *(host.lower() for host in settings.hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in settings.origins}

    def require_host(self, scope: Scope) -> None:
        """HttpError 421 when the request is for a name that is not this server's."""
        hosts = [value for key, value in scope["headers"] if key == b"host"]
        if len(hosts) == 1:
            name = host_of(hosts[0].decode("latin-1"))
            if self._any_host or name in self._hosts or _is_own_address(name, scope):
                return
            shown = name.encode("ascii", "backslashreplace").decode()[:100]
            raise HttpError(
                421, f"this server is not known as {shown!r}: add it to hosts in [server]"
            )
        raise HttpError(421, "the request needs one Host header")

    def require_origin(self, scope: Scope) -> bytes | None:
        """The request's origin, when it is a page's; HttpError 403 for a foreign one."""
        if header(scope, b"origin") is None:
            return None
        origins: list[bytes] = [value for key, value in scope["headers"] if key == b"origin"]
        origin = origins[0].decode("latin-1").lower()
        if len(origins) == 1 and (origin in self._origins or _is_own_origin(origin, scope)):
            return origins[0]
        raise HttpError(403, "pages of this origin may not use this server")


def cors(origin: bytes, shown: Sequence[str] = ()) -> list[Header]:
    """The headers that let a page of this origin read the answer, with what is ``shown`` too."""
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _with(SHOWN, shown)),
        (b"vary", b"Origin"),
    ]


def preflight(sent: Sequence[str] = ()) -> list[Header]:
    """What else a page may send, with what may be ``sent`` to this one path."""
    return [
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", _with(HEADERS, sent)),
        (b"access-control-max-age", REMEMBERED),
    ]


def _with(names: bytes, more: Sequence[str]) -> bytes:
    return b", ".join([names, *(name.encode("latin-1") for name in more)])


def host_of(value: str) -> str:
    """The name in a ``Host`` header, without its port."""
    value = value.strip().lower()
    if value.startswith("["):
        return value.partition("]")[0] + "]"
    return value.partition(":")[0]


def _is_own_address(name: str, scope: Scope) -> bool:
    """Whether the name is the very address that the connection came to: no page can have a
    name that is another's address."""
    server = scope.get("server")
    try:
        return server is not None and ipaddress.ip_address(name.strip("[]")) == (
            ipaddress.ip_address(server[0])
        )
    except ValueError:
        return False


def _is_own_origin(origin: str, scope: Scope) -> bool:
    parts = urlsplit(origin)
    host = (header(scope, b"host") or b"").decode("latin-1").lower()
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc == host
