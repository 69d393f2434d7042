"""Which servers there are and how to reach them, and what the store keeps there."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from enclave_broker_core.models import Count, Frozen, Seconds

MIB = 1024 * 1024

Address = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):\d{1,5}$")]
"""``host:port``; the host of IPv6 stands in brackets."""

_SCHEME = re.compile(r"rediss?://|unix://")


class TlsConfig(Frozen):
    """TLS for the URL's ``rediss://``; files are in PEM form."""

    ca_file: str | None = None
    """Authorities that are trusted beside the system's."""
    cert_file: str | None = None
    """The certificate that the client shows."""
    key_file: str | None = None
    """Its key."""
    check_hostname: bool = True
    """Whether the certificate must be the host's."""


class SentinelConfig(Frozen):
    """The sentinels to ask which server is the primary."""

    servers: tuple[Address, ...] = Field(min_length=1)
    """Their addresses, each ``host:port``."""
    service: str
    """The name under which they know the primary."""
    username: str | None = None
    """Who shows itself to the sentinels."""
    password: SecretStr | None = None
    """The sentinels' password."""


class ServerConfig(Frozen, hide_input_in_errors=True):
    """A server, a primary that sentinels know, or a cluster."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """``redis://``, ``rediss://`` or ``unix://``. With ``sentinel`` only its database and whether
    it is TLS count; for a ``cluster`` it is the first node to ask."""
    username: str | None = None
    """Who shows itself to the server, unless the URL says."""
    password: SecretStr | None = None
    """The server's password, unless the URL has it."""
    tls: TlsConfig = TlsConfig()
    """Certificates, for ``rediss://``."""
    sentinel: SentinelConfig | None = None
    """The sentinels to ask for the server."""
    cluster: bool = False
    """Whether the URL's server is a node of a cluster."""
    nodes: tuple[Address, ...] = ()
    """More nodes of the cluster to ask, each ``host:port``."""
    prefix: str = Field(default="enclave", pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    """What all keys begin with."""
    timeout: Seconds = 2.0
    """Seconds that a server may take to connect or to answer."""
    retry_for: Seconds = 5.0
    """Seconds for which an operation is tried again."""

    @field_validator("url")
    @classmethod
    def _url(cls, url: SecretStr) -> SecretStr:
        if not _SCHEME.match(url.get_secret_value()):
            raise ValueError("a URL of redis://, rediss:// or unix:// is needed")
        return url

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.sentinel is not None and self.cluster:
            raise ValueError("sentinel and cluster are two kinds of servers: choose one")
        if self.nodes and not self.cluster:
            raise ValueError("nodes are those of a cluster: set cluster = true as well")
        return self


class RedisConfig(ServerConfig):
    """A server's settings, and bounds for each session and for those that have ended."""

    lease: Seconds = 10.0
    """Seconds for which a broker that says nothing is believed to be alive."""
    max_events: Count = 10_000
    """Events in a session's log. Over a bound the oldest leave, never the newest one."""
    max_event_bytes: Count = 16 * MIB
    """Bytes of the payloads of these events, as JSON."""
    max_calls: Count = 1_000
    """Calls in a session's history."""
    max_call_bytes: Count = 4 * MIB
    """Bytes of the arguments of these calls, as JSON."""
    max_claims: Count = 1_000
    """Idempotency keys that are in use in a session."""
    max_claim_bytes: Count = 16 * MIB
    """Bytes of the answers that are kept under these keys."""
    grace: float = Field(default=60.0, ge=0)
    """Seconds for which an ended session can still be read."""
    max_ended: Count = 10_000
    """Ended sessions that are kept at most; those that ended first leave."""
