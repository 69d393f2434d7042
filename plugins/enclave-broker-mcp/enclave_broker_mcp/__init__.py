"""The Model Context Protocol, both ways: the broker as a server, and MCP servers as tools."""

from collections.abc import Iterable

from enclave_broker_core.commands import Command
from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .provider.accept_command import accept_command
from .provider.component import open_mcp
from .provider.config import McpConfig
from .serving.command import mcp_command
from .serving.opening import open_mcp_routes
from .serving.settings import HttpConfig


@hookimpl
def enclave_tool_providers() -> Iterable[Component]:
    return [Component("mcp", open_mcp, McpConfig)]


@hookimpl
def enclave_commands() -> Iterable[Command]:
    return [mcp_command(), accept_command()]


@hookimpl
def enclave_routes() -> Iterable[Component]:
    return [Component("mcp", open_mcp_routes, HttpConfig)]
