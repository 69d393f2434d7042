"""Which addresses may be connected to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from enclave_broker_network.addresses import METADATA, NAMED, AllowedNetworks
from hypothesis import given
from hypothesis import strategies as st

PUBLIC = (
    "93.184.216.34",
    "8.8.8.8",
    "172.15.255.255",
    "172.32.0.0",
    "100.63.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
)
REFUSED = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "fc00::1": "private",
    "fd12:3456::1": "private",
    "169.254.1.1": "link-local",
    "fe80::1": "link-local",
    "fe80::1%lo": "link-local",
    "100.64.0.1": "carrier",
    "169.254.169.254": "metadata",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    "100.100.100.200": "metadata",
    "168.63.129.16": "metadata",
    "0.0.0.0": "unspecified",
    "::": "unspecified",
    "0.1.2.3": "reserved",
    "224.0.0.1": "multicast",
    "ff02::1": "multicast",
    "255.255.255.255": "broadcast",
    "192.0.0.8": "reserved",
    "192.0.2.1": "reserved",
    "192.88.99.1": "reserved",
    "198.18.0.1": "reserved",
    "198.51.100.7": "reserved",
    "203.0.113.7": "reserved",
    "240.0.0.1": "reserved",
    # An IPv4 address inside of an IPv6 address.
    "::ffff:127.0.0.1": "loopback",
    "::ffff:10.0.0.1": "private",
    "::ffff:169.254.169.254": "metadata",
    "::ffff:0:127.0.0.1": "reserved",
    "::127.0.0.1": "reserved",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b::a9fe:a9fe": "metadata",
    "64:ff9b:1::a00:1": "reserved",
    "2002:7f00:1::": "reserved",
    "2001:0:1::1": "reserved",
    "2001:db8::1": "reserved",
    "3fff::1": "reserved",
    "5f00::1": "reserved",
    "100::1": "reserved",
    "4000::1": "reserved",
    "fec0::1": "reserved",
}


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_may_be_reached(text: str) -> None:
    assert AllowedNetworks(()).why_not(ip_address(text)) is None


@pytest.mark.parametrize(("text", "kind"), REFUSED.items())
def test_all_others_may_not(text: str, kind: str) -> None:
    reason = AllowedNetworks(()).why_not(ip_address(text))
    assert reason is not None
    assert kind in reason


@pytest.mark.parametrize(
    ("names", "reached", "refused"),
    [
        (["loopback"], ["127.0.0.1", "::1", "::ffff:127.0.0.1"], ["10.0.0.1", "0.0.0.0"]),
        (["private"], ["10.0.0.1", "192.168.0.1", "fd12::1"], ["127.0.0.1", "169.254.0.1"]),
        (["10.1.0.0/16"], ["10.1.2.3", "::ffff:10.1.2.3"], ["10.2.0.1", "127.0.0.1"]),
        (["192.168.7.7"], ["192.168.7.7"], ["192.168.7.8"]),
        (["link-local"], ["169.254.1.1", "fe80::1%lo"], ["127.0.0.1"]),
        (["fd00::/8", "loopback"], ["fd01::1", "127.0.0.1"], ["fc00::1"]),
        (["64:ff9b:1::/48"], ["64:ff9b:1::1"], ["64:ff9b:2::1"]),
    ],
)
def test_what_the_rules_name_may(names: list[str], reached: list[str], refused: list[str]) -> None:
    allowed = AllowedNetworks(names)
    assert [text for text in reached if allowed.why_not(ip_address(text))] == []
    assert [text for text in refused if not allowed.why_not(ip_address(text))] == []


def test_metadata_is_refused_unless_that_very_address_is_named() -> None:
    wide = AllowedNetworks(["0.0.0.0/0", "::/0", *NAMED])
    assert [address for address in METADATA if wide.why_not(address) is None] == []
    one = AllowedNetworks(["169.254.169.254"])
    assert one.why_not(ip_address("169.254.169.254")) is None
    assert one.why_not(ip_address("::ffff:169.254.169.254")) is None
    assert one.why_not(ip_address("169.254.170.2")) is not None


@pytest.mark.parametrize("name", ["", "localhost", "10.0.0.0/99", "10.1.2.3/16", "Loopback"])
def test_a_wrong_name_is_an_error_that_says_so(name: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        AllowedNetworks([name])


@given(st.ip_addresses())
def test_nothing_is_reached_that_python_calls_inner(address: object) -> None:
    parsed = ip_address(str(address))
    inner = parsed.is_loopback or parsed.is_link_local or parsed.is_multicast
    inner = inner or parsed.is_unspecified or parsed.is_reserved
    if inner and not str(parsed).startswith(("64:ff9b::", "::ffff:")):
        assert AllowedNetworks(()).why_not(parsed) is not None


@given(st.integers(0, 2**32 - 1))
def test_an_address_in_an_address_is_judged_as_itself(number: int) -> None:
    allowed = AllowedNetworks(())
    plain = allowed.why_not(ip_address(number))
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        assert allowed.why_not(ip_address(prefix | number)) == plain
