"""A client of the network guard that reaches servers of the test, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from enclave_broker_network.guard import Resolver, system_resolver
from enclave_broker_network.outbound import MoreHeaders, Outbound, open_outbound
from enclave_broker_network.rules import NetworkRules
from raw_http import RawServer


@asynccontextmanager
async def reaching(
    *servers: RawServer,
    resolver: Resolver = system_resolver,
    more_headers: MoreHeaders | None = None,
    **rules: Any,
) -> AsyncIterator[Outbound]:
    """``rules`` change those that let these servers be reached."""
    given = {"schemes": ["http", "https"], "allow_private": ["loopback"], **rules}
    origins = [server.url for server in servers]
    async with open_outbound(
        NetworkRules(**given), origins=origins, resolver=resolver, more_headers=more_headers
    ) as outbound:
        yield outbound
