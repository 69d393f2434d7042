"""Which addresses may be connected to: the public ones, and those that the rules name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


# Where clouds hand out credentials to whoever asks. Only a rule that names exactly one of
# these addresses allows it. 168.63.129.16 and fd20:ce::254 are outside of link-local.
METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.169.253",
        "169.254.169.123",
        "169.254.170.2",
        "169.254.170.23",
        "169.254.42.42",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::253",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
    )
)

# What a rule may call by name.
NAMED: Mapping[str, tuple[Network, ...]] = {
    "loopback": _networks("127.0.0.0/8", "::1/128"),
    "private": _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    "link-local": _networks("169.254.0.0/16", "fe80::/10"),
    "carrier": _networks("100.64.0.0/10"),
}

# IANA's registries of special addresses, the narrower ones first. Not ipaddress's own
# is_global: what that says differs between versions of Python.
_SPECIAL: tuple[tuple[str, tuple[Network, ...]], ...] = (
    *((f"a {name} address", networks) for name, networks in NAMED.items()),
    ("the unspecified address", _networks("0.0.0.0/32", "::/128")),
    ("a multicast address", _networks("224.0.0.0/4", "ff00::/8")),
    ("a broadcast address", _networks("255.255.255.255/32")),
    (
        "a reserved address",
        _networks(
            "0.0.0.0/8",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "2001::/23",
            "2001:db8::/32",
            "2002::/16",
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    ),
)
_GLOBAL_V6 = IPv6Network("2000::/3")
# An IPv4 address in these is the one that is reached.
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")


class AllowedNetworks:
    """What may be connected to besides public addresses.

    ``names`` are names of NAMED, networks (``10.1.0.0/16``) and single addresses. ValueError
    for what is none of these.
    """

    def __init__(self, names: Iterable[str]) -> None:
        networks: list[Network] = []
        for name in names:
            if name in NAMED:
                networks += NAMED[name]
                continue
            try:
                networks.append(ip_network(name))
            except ValueError:
                known = ", ".join(NAMED)
                raise ValueError(
                    f"{name!r} is neither a network, such as 10.1.0.0/16, nor one of {known}"
                ) from None
        self._networks = tuple(networks)
        self._single = frozenset(
            network.network_address
            for network in networks
            if network.prefixlen == network.max_prefixlen
        )

    def why_not(self, address: Address) -> str | None:
        """Why this address may not be connected to; None when it may."""
        reached = _reached(address)
        if reached in METADATA or address in METADATA:
            return None if reached in self._single else "the address of a cloud's metadata"
        if any(reached in network for network in self._networks):
            return None
        for what, networks in _SPECIAL:
            if any(reached in network for network in networks):
                return what
        if isinstance(reached, IPv6Address) and reached not in _GLOBAL_V6:
            return "a reserved address"
        return None


def _reached(address: Address) -> Address:
    """The address that packets for this one arrive at."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            address = IPv6Address(int(address))
        if address in _MAPPED or address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
