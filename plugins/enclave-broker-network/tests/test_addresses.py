"""Which addresses may be connected to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from enclave_broker_network.addresses import AllowedNetworks

PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_may_be_reached(text: str) -> None:
    assert AllowedNetworks(()).why_not(ip_address(text)) is None
