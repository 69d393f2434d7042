"""What ``[[routes]] use = "mcp"`` may say; the command ``mcp`` goes by the same table."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, Field, model_validator

from enclave_broker_core.models import Count, Frozen, Seconds
from enclave_broker_core.patterns import PatternText

Mode = Literal["tools", "code", "both"]


class ServingConfig(Frozen):
    """What MCP clients see of the broker, and what one of them may use."""

    mode: Mode = "tools"
    """``"tools"``: each tool of the catalog is one for the client. ``"code"``: the client has
    three tools, which search the catalog, describe tools and run code that calls them.
    ``"both"``: all of these."""
    runtime: str | None = None
    """The runtime that code runs in; else the first that is configured."""
    name: Annotated[str, Field(min_length=1, max_length=128)] = "enclave-broker"
    """What the server calls itself."""
    title: Annotated[str, Field(max_length=256)] | None = None
    """What people see as its name."""
    instructions: Annotated[str, Field(max_length=16_384)] | None = None
    """What the client's model is told of the server as a whole."""
    allowed_tools: tuple[PatternText, ...] | None = None
    """Patterns of the tools that there are for MCP clients; all that the caller may use when
    left out."""
    page_size: Count = 1000
    """Tools on one page of the list."""
    max_calls: Count = 32
    """Calls of one client, or in one session, that may be under way at a time."""
    max_output_chars: Count = 50_000
    """Characters of what code printed or logged that the client is shown; of more, the end."""
    idle_timeout: Seconds = 1800.0
    """Seconds without any request after which a client's session ends."""


class HttpConfig(ServingConfig):
    """MCP over streamable HTTP, on a path of the server."""

    path: Annotated[str, Field(pattern=r"^(?:/[A-Za-z0-9_.~-]+)+$", max_length=256)] = "/mcp"
    """Where on the server it is."""
    max_sessions: Count = 1000
    """MCP sessions that may be open in one process."""
    max_sessions_per_principal: Count = 100
    """MCP sessions that one principal may have open in one process."""
    max_body_bytes: Count = 2 * 1024 * 1024
    """Bytes of one request."""
    body_timeout: Seconds = 30.0
    """Seconds that a request may take to come."""
    stall_timeout: Seconds = 30.0
    """Seconds that a client may take nothing of an answer before it is cut off."""
    resource: AnyHttpUrl | None = None
    """The URL under which clients know it, ``https://broker.example/mcp``; what tokens are
    issued for. Needed with ``authorization_servers``."""
    authorization_servers: tuple[AnyHttpUrl, ...] = ()
    """Issuers of the tokens that an authenticator takes: clients without one are sent there, by
    the metadata of RFC 9728."""
    scopes: tuple[str, ...] = ()
    """The scopes that clients are told to ask for."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.resource is None) == bool(self.authorization_servers):
            raise ValueError("resource and authorization_servers go together")
        return self
