"""What the SDK says of a request."""

from __future__ import annotations

from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext

Context = ServerRequestContext[Any, Any]


def connection_of(context: Context) -> Connection:
    """The connection on which the request came; what ends with it can be left there."""
    # A context has no public way to it, though the SDK means handlers to use it.
    return context.session._connection


def wants_progress(context: Context) -> bool:
    """Whether the request has a token for its progress."""
    return context.meta is not None and context.meta.get("progress_token") is not None
