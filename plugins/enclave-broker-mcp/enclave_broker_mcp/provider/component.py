"""Opens the provider ``mcp``. Every command loads this module, and few need the protocol."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from enclave_broker_core.contracts import OpenContext, ToolProvider

from .config import McpConfig


def open_mcp(config: McpConfig, context: OpenContext) -> AbstractAsyncContextManager[ToolProvider]:
    """The tools of one server. PluginError when it is required and does not start."""
    # The SDK alone takes more than a second to load: only who has such tools waits for it.
    from . import opening

    return opening.open_server(config, context)
