"""The Model Context Protocol, both ways: the broker as a server, and MCP servers as tools."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .provider.component import open_mcp
from .provider.config import McpConfig


@hookimpl
def enclave_tool_providers() -> Iterable[Component]:
    return [Component("mcp", open_mcp, McpConfig)]
