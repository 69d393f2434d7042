"""The routes of MCP over HTTP: the endpoint, and what clients may read of how to get a token."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
from mcp.server import streamable_http as transport
from mcp.server import streamable_http_manager as manager
from mcp.server.auth.handlers.metadata import ProtectedResourceMetadataHandler
from mcp.server.auth.routes import build_resource_metadata_url
from mcp.server.streamable_http import LAST_EVENT_ID_HEADER, MCP_SESSION_ID_HEADER
from mcp.shared.auth import ProtectedResourceMetadata
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from starlette.routing import BaseRoute, Route

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.route_traits import RouteTraits

from .endpoint import Endpoint
from .settings import HttpConfig

# What web pages may send to the endpoint besides what they may send to all of the server.
SENT = (MCP_SESSION_ID_HEADER, MCP_PROTOCOL_VERSION_HEADER, LAST_EVENT_ID_HEADER)


class KnownRoute(Route):
    """A route of which the door is told more than its path."""

    def __init__(self, path: str, endpoint: Any, traits: RouteTraits) -> None:
        super().__init__(path, endpoint)
        self.enclave = traits


@asynccontextmanager
async def mcp_routes(
    config: HttpConfig, context: OpenContext
) -> AsyncIterator[Sequence[BaseRoute]]:
    """The routes; the sessions of clients end with the block."""
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        stack.enter_context(_discreet())
        endpoint = Endpoint(config, tasks)
        await stack.enter_async_context(endpoint.manager.run())
        # Its errors are the caller's: no task group is to wrap them into a group.
        unwrapped = stack.pop_all()
    challenge, metadata = _metadata(config)
    traits = RouteTraits(
        challenge=challenge,
        request_headers=SENT,
        answer_headers=(MCP_SESSION_ID_HEADER,),
        on_drain=endpoint.drain,
    )
    try:
        yield [KnownRoute(config.path, endpoint, traits), *metadata]
    finally:
        await unwrapped.aclose()


def _metadata(config: HttpConfig) -> tuple[str | None, list[BaseRoute]]:
    """What is said to who has no token, and the page that this refers to."""
    if config.resource is None:
        return None, []
    url = build_resource_metadata_url(config.resource)
    page = ProtectedResourceMetadata(
        resource=config.resource,
        authorization_servers=list(config.authorization_servers),
        scopes_supported=list(config.scopes) or None,
        resource_name=config.title or config.name,
    )
    handler = ProtectedResourceMetadataHandler(page)
    route = KnownRoute(urlsplit(str(url)).path, handler.handle, RouteTraits(public=True))
    return f'Bearer resource_metadata="{url}"', [route]


@contextmanager
def _discreet() -> Iterator[None]:
    """In this block the SDK logs no session's id: without authenticators it would let others in."""
    loggers = [logging.getLogger(module.__name__) for module in (manager, transport)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
