"""Which servers there are and how to reach them, and what the store keeps there."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from enclave_broker_core.models import Count, Seconds

MIB = 1024 * 1024

Address = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):\d{1,5}$")]
"""``host:port``; the host of IPv6 stands in brackets."""

_SCHEME = re.compile(r"rediss?://|unix://")


class TlsConfig(BaseModel, extra="forbid"):
    """TLS for the URL's ``rediss://``: files in PEM form, beside the system's authorities."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    check_hostname: bool = True


class SentinelConfig(BaseModel, extra="forbid"):
    """The sentinels to ask which server is the primary of ``service``."""

    servers: tuple[Address, ...] = Field(min_length=1)
    service: str
    username: str | None = None
    password: SecretStr | None = None


class ServerConfig(BaseModel, extra="forbid", hide_input_in_errors=True):
    """A server, a primary that sentinels know, or a cluster.

    ``url`` is ``redis://``, ``rediss://`` or ``unix://``. With ``sentinel`` only its database
    and whether it is TLS count; for a ``cluster`` it is the first node to ask, ``nodes`` are
    more of them. ``timeout`` is how many seconds a server may take to connect or to answer;
    ``retry_for`` for how long an operation is tried again. All keys begin with ``prefix``.
    """

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    username: str | None = None
    password: SecretStr | None = None
    tls: TlsConfig = TlsConfig()
    sentinel: SentinelConfig | None = None
    cluster: bool = False
    nodes: tuple[Address, ...] = ()
    prefix: str = Field(default="enclave", pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    timeout: Seconds = 2.0
    retry_for: Seconds = 5.0

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
    """A server's settings, and bounds for each session and for those that have ended.

    The bounds are those of the memory store: ``max_events`` and ``max_event_bytes`` of a
    session's log, ``max_calls`` and ``max_call_bytes`` of its history, ``max_claims`` and
    ``max_claim_bytes`` of its idempotency keys. ``grace`` is how many seconds an ended
    session can still be read, ``max_ended`` how many are kept at most. ``lease`` is the
    seconds for which a broker that says nothing is believed to be alive.
    """

    lease: Seconds = 10.0
    max_events: Count = 10_000
    max_event_bytes: Count = 16 * MIB
    max_calls: Count = 1_000
    max_call_bytes: Count = 4 * MIB
    max_claims: Count = 1_000
    max_claim_bytes: Count = 16 * MIB
    grace: float = Field(default=60.0, ge=0)
    max_ended: Count = 10_000
