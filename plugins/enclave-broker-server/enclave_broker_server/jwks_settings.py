"""What is settled of fetching an issuer's keys, before any is fetched."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from pydantic import Field

from enclave_broker_core.models import Count, Frozen, Seconds

KIB = 1024


class JwksSettings(Frozen):
    """How keys are fetched."""

    cache_seconds: Seconds = 600.0
    """Seconds for which keys are taken as they are."""
    refetch_interval: Seconds = 30.0
    """The URL is asked once in so many seconds at most, whatever tokens ask for."""
    stale_seconds: float = Field(default=86_400.0, ge=0, le=1e9)
    """Seconds for which keys go on after that when the URL is not in reach."""
    fetch_timeout: Seconds = 5.0
    """Seconds that a fetch may take."""
    max_jwks_bytes: Count = 256 * KIB
    """Bytes of the whole answer."""
    allow_http: bool = False
    """Whether the URL may be plain http: then anybody on the way can forge keys."""


def require_safe(url: str, *, allow_http: bool) -> None:
    """ValueError for a URL that keys must not come from."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is not an https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("keys are public: their URL has no user and no password in it")
    if parts.scheme == "http" and not allow_http and not is_loopback(url):
        raise ValueError(
            "over http anybody on the way could put in keys of their own: use https, or"
            " allow_http = true where nobody is on the way"
        )


def is_loopback(url: str) -> bool:
    """Whether the URL stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
