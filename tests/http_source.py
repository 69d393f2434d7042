"""A broker with HTTP tools of a server of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from raw_http import RawServer

from enclave_broker_core import Broker, Session, open_broker

NETWORK = {"schemes": ["http"], "allow_private": ["loopback"]}


def source(server: RawServer, *requests: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The table of a source whose requests go to the server; each has a name unless given."""
    named = [{"name": "t", **request} for request in requests]
    network = NETWORK | options.pop("network", {})
    return {
        "use": "http",
        "base_url": server.url,
        "network": network,
        "requests": named,
        **options,
    }


@asynccontextmanager
async def calling(
    server: RawServer,
    *requests: dict[str, Any],
    config: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Session]:
    """A session of a broker that has these tools."""
    async with (
        open_calling(server, *requests, config=config, **options) as broker,
        broker.session() as session,
    ):
        yield session


@asynccontextmanager
async def open_calling(
    server: RawServer,
    *requests: dict[str, Any],
    config: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Broker]:
    whole = {"tools": [source(server, *requests, **options)], **(config or {})}
    async with open_broker(whole) as broker:
        yield broker
