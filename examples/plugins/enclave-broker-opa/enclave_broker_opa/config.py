"""What a configuration may say of the policy."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

from enclave_broker_network.rules import NetworkRules, Timeouts
from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

# What RFC 6750 lets a bearer token be; a line feed in it would be another header.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_REACH = frozenset({"schemes", "allow_private", "ca_file"})


class CacheConfig(BaseModel, frozen=True, extra="forbid"):
    """How long a decision stands without being asked for again, in seconds, and how many do."""

    seconds: float = Field(gt=0, le=3600)
    entries: int = Field(default=1000, ge=1, le=1_000_000)


class OpaConfig(BaseModel, frozen=True, extra="forbid"):
    """Which rule of which service is asked, and within which bounds.

    ``url`` is the rule in the Data API. ``timeout`` is for a whole question, in seconds, its
    wait for one of the ``max_at_once`` connections too; ``max_bytes`` for an answer. With
    ``arguments`` each call is judged with its arguments, else each tool without any.
    """

    url: str
    token: SecretStr | None = None
    arguments: bool = True
    timeout: float = Field(default=2.0, gt=0, le=300)
    max_at_once: int = Field(default=16, ge=1, le=1000)
    max_bytes: int = Field(default=65_536, ge=64)
    cache: CacheConfig | None = None
    network: NetworkRules | None = None

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        # No message has the URL in it: somebody may have put a password there.
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("it has to be an absolute URL, by http or https")
        if parts.username is not None or parts.password is not None:
            raise ValueError("credentials don't belong into a URL; use 'token'")
        if parts.fragment:
            raise ValueError("it has a fragment, and those are not sent")
        return url

    @field_validator("token")
    @classmethod
    def _token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not _TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("it is no bearer token: a character in it can't be in one")
        return token

    @field_validator("network")
    @classmethod
    def _network(cls, network: NetworkRules | None) -> NetworkRules | None:
        if network is not None and (others := network.model_fields_set - _REACH):
            raise ValueError(f"{', '.join(sorted(others))} can't be set for this policy")
        return network

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.network is None and urlsplit(self.url).scheme == "http" and not self._beside:
            raise ValueError(
                "its questions and its token would cross the network in the clear: take https, or"
                " say network = { schemes = ['http'] }"
            )
        return self

    @property
    def _beside(self) -> bool:
        """Whether the service is on this machine, and the URL says so without any look-up."""
        try:
            return ip_address(urlsplit(self.url).hostname or "").is_loopback
        except ValueError:
            return False

    @property
    def rules(self) -> NetworkRules:
        """The guard's rules: this URL and nothing else, no redirect, and the bounds."""
        reach = self.network
        if reach is None and self._beside:
            reach = NetworkRules(schemes=frozenset({"http", "https"}), allow_private=("loopback",))
        fixed = {
            "max_redirects": 0,
            "max_bytes": self.max_bytes,
            "max_connections": self.max_at_once,
            "max_connections_per_host": self.max_at_once,
            # Each phase may take all of the time that there is.
            "timeouts": Timeouts(**dict.fromkeys(Timeouts.model_fields, self.timeout)),
        }
        return (reach or NetworkRules()).model_copy(update=fixed)
