"""Results and errors of the broker in the forms that MCP has for them."""

from __future__ import annotations

import math
from typing import Any

from mcp import types
from mcp.shared.exceptions import MCPError
from pydantic_core import to_json

from enclave_broker_core.errors import BrokerError

from .blocks import content_of


def succeeded(value: Any) -> types.CallToolResult:
    """A result: MCP content as it is, an object also as structured content, the rest as text."""
    blocks = content_of(value)
    if blocks is not None:
        return types.CallToolResult(content=blocks)
    text = value if isinstance(value, str) else to_json(value).decode()
    content = [types.TextContent(type="text", text=text)]
    structured = value if isinstance(value, dict) else None
    return types.CallToolResult(content=list(content), structured_content=structured)


def failed(error: BrokerError, **more: Any) -> types.CallToolResult:
    """A tool error: for the model as text, for programs ``{code, message, retryAfterMs?, …}``."""
    said = {**error_data(error), **more}
    text = f"{error.code}: {error.message}"
    after = said.get("retryAfterMs")
    if after is not None:
        text += f" (try again in {after / 1000:g} s)"
    texts = [text, *([to_json(more).decode()] if more else [])]
    content = [types.TextContent(type="text", text=text) for text in texts]
    return types.CallToolResult(content=list(content), structured_content=said, is_error=True)


def error_data(error: BrokerError) -> dict[str, Any]:
    """``{code, message, retryable, retryAfterMs?, details?}``."""
    said: dict[str, Any] = {**error.to_wire(), "retryable": error.retryable}
    if error.retry_after is not None and math.isfinite(error.retry_after):
        said["retryAfterMs"] = max(0, math.ceil(error.retry_after * 1000))
    return said


def protocol_error(error: BrokerError) -> MCPError:
    """The same where there is no tool whose error it could be."""
    return MCPError(types.INTERNAL_ERROR, error.message, error_data(error))


def unknown_tool(name: str) -> MCPError:
    """What the protocol prescribes for a name that is no tool's."""
    return MCPError(types.INVALID_PARAMS, f"Unknown tool: {name[:128]}")
