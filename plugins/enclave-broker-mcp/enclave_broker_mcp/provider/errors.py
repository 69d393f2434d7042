"""What goes wrong between the broker and an MCP server."""

from __future__ import annotations

from enclave_broker_core.errors import ToolError


class ServerError(ToolError):
    """The server can't be used as it is: it breaks the protocol, or a bound of this provider."""


class ServerDownError(ServerError):
    """There is no connection to the server now; ``retry_after`` says when the next is tried."""

    retryable = True


class BusyServerError(ServerError):
    """The server answers later; ``retry_after`` says when, if it said so."""

    retryable = True


class HeldBackError(ToolError):
    """The tool is not the one that was accepted, or was never accepted."""
