"""Where the server is, and what every request to it says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from enclave_broker_core.errors import ConfigError

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
TOKEN = re.compile(r"[\x21-\x7e]+")


class Address:
    """A server's base URL, and the headers of every request. Its repr has no header."""

    def __init__(
        self, base_url: str, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """ConfigError for what is no URL of a server, and for a header that can't be sent.

        What is in the token or a header is in no message.
        """
        parts = urlsplit(base_url)
        try:
            parts.port  # noqa: B018  # looked at, it is checked
        except ValueError:
            raise ConfigError("the base URL has a port that is none") from None
        if parts.username is not None or parts.password is not None:
            raise ConfigError("the base URL has a user or a password in it: give a token instead")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("the base URL must begin with http:// or https:// and a host")
        if parts.query or parts.fragment:
            raise ConfigError("the base URL may have no query and no fragment")
        self.base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        # A compressed answer could be far larger than what comes over the wire.
        self.headers: dict[str, str] = {"accept-encoding": "identity"}
        for name, value in (headers or {}).items():
            if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
                raise ConfigError("a header has a name or a value that can't be sent")
            self.headers[name.lower()] = value
        if token is not None:
            if not TOKEN.fullmatch(token):
                raise ConfigError("the token is empty, or has characters that can't be sent")
            self.headers["authorization"] = f"Bearer {token}"

    def url(self, path: str, query: Mapping[str, str]) -> str:
        return f"{self.base}{path}{'?' if query else ''}{urlencode(query)}"

    def __repr__(self) -> str:
        return f"Address({self.base!r})"
