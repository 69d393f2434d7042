"""What may be reached, and how much time and space it may take: configuration of the guard."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from enclave_broker_core.models import Count, Frozen, Seconds
from enclave_broker_core.patterns import PatternText

from .addresses import AllowedNetworks


def _networks(names: tuple[str, ...]) -> tuple[str, ...]:
    AllowedNetworks(names)
    return names


HostPattern = Annotated[PatternText, AfterValidator(str.lower)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Timeouts(Frozen):
    """How long each phase of a request may take, in seconds."""

    connect: Seconds = 10.0
    """The name's look-up, the connection and TLS."""
    read: Seconds = 30.0
    """Each piece that is read."""
    write: Seconds = 30.0
    """Each piece that is written."""
    pool: Seconds = 10.0
    """The wait for a place among the connections."""
    total: Seconds = 60.0
    """All of a request, its redirects and its retries."""


class NetworkRules(Frozen):
    """What requests may reach, and how much may come back."""

    schemes: frozenset[Literal["https", "http"]] = frozenset({"https"})
    """The schemes of URLs; plain http has to be among them."""
    hosts: tuple[HostPattern, ...] = ()
    """Patterns of host names, each on the ``ports``; without any, the origins that the
    configuration names as URLs."""
    ports: frozenset[Port] = frozenset({443, 80})
    """The ports of these hosts."""
    allow_private: Annotated[tuple[str, ...], AfterValidator(_networks)] = ()
    """Addresses that are not public and may be reached: networks such as ``10.1.0.0/16``, single
    addresses, or ``loopback``, ``private``, ``link-local`` and ``carrier``."""
    max_bytes: Count = 8 * 1024 * 1024
    """Bytes of an answer's body, on the wire and decoded."""
    max_redirects: Annotated[int, Field(ge=0, le=20)] = 5
    """Redirects that are followed."""
    max_connections: Count = 100
    """Connections at a time."""
    max_connections_per_host: Count = 10
    """Connections to one host at a time."""
    timeouts: Timeouts = Timeouts()
    """How long each phase may take."""
    ca_file: Annotated[str, Field(min_length=1)] | None = None
    """Certificates that are trusted instead of the usual ones."""
