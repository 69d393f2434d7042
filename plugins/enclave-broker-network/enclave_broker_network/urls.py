"""URLs as they go on the wire: taken apart once, judged, and never put in another form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Annotated, NamedTuple
from urllib.parse import quote, urljoin

from pydantic import AfterValidator

from enclave_broker_core.errors import BrokerError

from .errors import RefusedError

DEFAULT_PORTS = {"http": 80, "https": 443}.items()
LONGEST_URL = 16 * 1024

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#.*)?",
    re.DOTALL,
)
_AUTHORITY = re.compile(
    r"(?:(?P<name>[A-Za-z0-9_.-]{1,253})|\[(?P<six>[0-9A-Fa-f:.]{2,45})\])(?::(?P<port>[0-9]{0,5}))?"
)
# RFC 3986's characters, and the brackets that many services put into queries.
_TARGET = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})*")
# A server may decode it before it looks for dots and slashes, and some do so twice.
_DOTS = re.compile(r"(?:\.|%(?:25)*2e){1,2}", re.IGNORECASE)
_PARAMETERS = re.compile(r";|%(?:25)*3b", re.IGNORECASE)
_SLASH = re.compile(r"/|%(?:25)*2f|%(?:25)*5c", re.IGNORECASE)


class Origin(NamedTuple):
    """Where a request goes: scheme, host and port. What is of one origin may share credentials."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """What ``Host`` says: without the port when it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if (self.scheme, self.port) in DEFAULT_PORTS else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Url:
    """An origin, and the path with its query as they are sent."""

    origin: Origin
    path: str
    query: str | None = None

    @property
    def target(self) -> str:
        return self.path if self.query is None else f"{self.path}?{self.query}"

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"

    def __repr__(self) -> str:
        # A query may hold an API key, and a path the id of somebody.
        return f"Url({str(self.origin)!r})"


def parse_url(text: str) -> Url:
    """Take an http or https URL apart; the fragment is dropped.

    RefusedError for anything else, for credentials in it, for hosts in odd spellings, and
    for a path in which ``.`` or ``..`` is a segment, also percent-encoded.
    """
    if len(text) > LONGEST_URL:
        raise RefusedError(f"the URL is longer than {LONGEST_URL} characters")
    found = _URL.fullmatch(text)
    scheme = found["scheme"].lower() if found else ""
    if found is None or scheme not in ("http", "https"):
        raise RefusedError("the URL does not begin with http:// or https://")
    origin = _origin(scheme, found["authority"])
    path, query = found["path"] or "/", found["query"]
    for part in (path, query or ""):
        if not _TARGET.fullmatch(part):
            raise RefusedError(
                f"the URL of a request to {origin.host} has characters that must be"
                " percent-encoded",
                host=origin.host,
            )
    if has_dot_segment(path):
        raise RefusedError(
            f"the path of a request to {origin.host} has '.' or '..' as a segment",
            host=origin.host,
        )
    return Url(origin, path, query)


def has_dot_segment(path: str) -> bool:
    """Whether a server may take a segment of the path for ``.`` or ``..``."""
    return any(
        # Some servers cut off what follows a ';' before they look at a segment.
        _DOTS.fullmatch(_PARAMETERS.split(segment, maxsplit=1)[0])
        for segment in _SLASH.split(path)
    )


def join_url(base: Url, location: str) -> Url:
    """Where a redirect leads. RefusedError as ``parse_url``."""
    if len(location) > LONGEST_URL or not location.isprintable() or "\\" in location:
        raise RefusedError(f"{base.origin.host} redirects to what is no URL", host=base.origin.host)
    # As browsers do: what is not allowed to be there is encoded, what is encoded stays.
    ready = quote(location, safe="%/:?#[]@!$&'()*+,;=~")
    try:
        joined = urljoin(str(base), ready)
    except ValueError:
        raise RefusedError(
            f"{base.origin.host} redirects to what is no URL", host=base.origin.host
        ) from None
    return parse_url(joined)


def _origin(scheme: str, authority: str) -> Origin:
    if "@" in authority:
        raise RefusedError("a URL may not have a user or a password in it")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise RefusedError("the URL has no host that is a name or an address")
    port = int(found["port"] or dict(DEFAULT_PORTS)[scheme])
    if not 0 < port < 65536:
        raise RefusedError("the URL's port is not between 1 and 65535")
    if found["six"] is not None:
        try:
            return Origin(scheme, str(IPv6Address(found["six"])), port)
        except AddressValueError:
            raise RefusedError("the URL's host is no IPv6 address") from None
    host = found["name"].lower().removesuffix(".")
    labels = host.split(".")
    if not all(0 < len(label) <= 63 for label in labels):
        raise RefusedError("the URL has no host that is a name or an address")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        # Resolvers take 127.1, 0x7f.1, 017700000001 and 2130706433 for addresses.
        try:
            host = str(IPv4Address(host))
        except AddressValueError:
            raise RefusedError(
                f"the host {host} is an address in an odd spelling", host=host
            ) from None
    return Origin(scheme, host, port)


def url_text(text: str) -> str:
    """The text itself when it is a URL. ValueError otherwise, as models tell mistakes by."""
    try:
        parse_url(text)
    except BrokerError as problem:
        raise ValueError(problem.message) from None
    return text


UrlText = Annotated[str, AfterValidator(url_text)]
"""A URL in a configuration model."""
