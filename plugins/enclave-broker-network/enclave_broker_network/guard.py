"""The guard: which origins and which addresses a request may go to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from socket import SOCK_STREAM, gaierror

import anyio

from enclave_broker_core.patterns import Pattern

from .addresses import Address, AllowedNetworks
from .errors import RefusedError, UnreachableError
from .rules import NetworkRules
from .urls import Origin, Url, parse_url

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""A host's addresses as texts, best first; OSError when there are none."""

MOST_ADDRESSES = 16


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """What the system knows of a name."""
    found = await anyio.getaddrinfo(host, port, type=SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class Guard:
    """Judges where requests go: by ``origin`` before anything is done, by address at the end.

    ``origins`` are URLs whose scheme, host and port may be reached besides what the rules
    list: those that the operator wrote. Schemes and addresses are judged for these too.
    """

    def __init__(
        self,
        rules: NetworkRules,
        origins: Iterable[str] = (),
        resolver: Resolver = system_resolver,
    ) -> None:
        self._schemes = rules.schemes
        self._hosts = [Pattern(text) for text in rules.hosts]
        self._ports = rules.ports
        self._networks = AllowedNetworks(rules.allow_private)
        self._origins = frozenset(parse_url(url).origin for url in origins)
        self._resolve = resolver

    def admit(self, url: Url) -> None:
        """RefusedError when no request may go to this origin."""
        reason = self._why_not(url.origin)
        if reason is not None:
            host = url.origin.host
            raise RefusedError(f"a request to {host} is refused: {reason}", host=host)

    def _why_not(self, origin: Origin) -> str | None:
        if origin.scheme not in self._schemes:
            return f"{origin.scheme} is not among the allowed schemes"
        if origin in self._origins:
            return None
        if not any(pattern.matches(origin.host) for pattern in self._hosts):
            return "the host is not among the allowed ones"
        if origin.port not in self._ports:
            return f"port {origin.port} is not among the allowed ones"
        return None

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host, all judged. RefusedError when one of them is not allowed:

        a name that also leads inside is not used at all. UnreachableError when it has none.
        """
        try:
            found: Sequence[str] = [str(ip_address(host))]
        except ValueError:
            found = await self._look_up(host, port)
        for text in found:
            self._judge(host, text)
        return found

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as problem:
            why = f": {problem.strerror}" if isinstance(problem, gaierror) else ""
            raise UnreachableError(f"the name {host} can't be looked up{why}", host=host) from None
        if not found:
            raise UnreachableError(f"the name {host} has no address", host=host)
        return found[:MOST_ADDRESSES]

    def _judge(self, host: str, text: str) -> None:
        try:
            address: Address = ip_address(text)
        except ValueError:
            reason: str | None = "it has what is no address"
        else:
            reason = self._networks.why_not(address)
            reason = None if reason is None else f"it has {reason}"
        if reason is not None:
            raise RefusedError(f"a request to {host} is refused: {reason}", host=host)
