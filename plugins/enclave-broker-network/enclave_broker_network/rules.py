"""What may be reached, and how much time and space it may take: configuration of the guard."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import Count, Frozen, Seconds
from enclave_broker_core.patterns import Pattern

from .addresses import AllowedNetworks


def _pattern(text: str) -> str:
    try:
        Pattern(text)
    except BrokerError as problem:
        raise ValueError(problem.message) from None
    return text.lower()


def _networks(names: tuple[str, ...]) -> tuple[str, ...]:
    AllowedNetworks(names)
    return names


HostPattern = Annotated[str, AfterValidator(_pattern)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Timeouts(Frozen):
    """How long each phase of a request may take, in seconds.

    ``connect`` is for the name's look-up, the connection and TLS, ``read`` and ``write`` are
    for each piece, ``pool`` is the wait for a place among the connections. ``total`` is for
    all of a request, its redirects and its retries.
    """

    connect: Seconds = 10.0
    read: Seconds = 30.0
    write: Seconds = 30.0
    pool: Seconds = 10.0
    total: Seconds = 60.0


class NetworkRules(Frozen):
    """What requests may reach, and how much may come back.

    ``hosts`` are patterns of host names, each on the ``ports``; without any only the origins
    that the configuration names as URLs are reached. Plain http has to be among ``schemes``.
    Of addresses that are not public those are reached that ``allow_private`` names: networks
    such as ``10.1.0.0/16``, single addresses, or ``loopback``, ``private``, ``link-local`` and
    ``carrier``. ``max_bytes`` is the size of an answer's body, on the wire and decoded.
    ``ca_file`` has the certificates that are trusted instead of the usual ones.
    """

    schemes: frozenset[Literal["https", "http"]] = frozenset({"https"})
    hosts: tuple[HostPattern, ...] = ()
    ports: frozenset[Port] = frozenset({443, 80})
    allow_private: Annotated[tuple[str, ...], AfterValidator(_networks)] = ()
    max_bytes: Count = 8 * 1024 * 1024
    max_redirects: Annotated[int, Field(ge=0, le=20)] = 5
    max_connections: Count = 100
    max_connections_per_host: Count = 10
    timeouts: Timeouts = Timeouts()
    ca_file: Annotated[str, Field(min_length=1)] | None = None
