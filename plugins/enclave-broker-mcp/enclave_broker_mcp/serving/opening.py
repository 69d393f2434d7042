"""Opens the routes, with the SDK that only who serves MCP waits for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from enclave_broker_core.contracts import OpenContext

from .settings import HttpConfig


@asynccontextmanager
async def open_mcp_routes(config: HttpConfig, context: OpenContext) -> AsyncIterator[Sequence[Any]]:
    """What ``[[routes]] use = "mcp"`` opens to."""
    from .routes import mcp_routes

    async with mcp_routes(config, context) as routes:
        yield routes
