"""A server of the MCP SDK alone, with so many tools: ``python mcp_bare.py 200``."""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server

Context = ServerRequestContext[Any, Any]


def made(number: int) -> types.Tool:
    """The form that the broker has for its tools."""
    return types.Tool(
        name=f"get_{number}",
        description="Look a user up.",
        input_schema={
            "type": "object",
            "properties": {"id": {"type": "integer", "title": "Id"}},
            "required": ["id"],
            "additionalProperties": False,
        },
        output_schema={"type": "object", "additionalProperties": True},
        annotations=types.ToolAnnotations(read_only_hint=True, idempotent_hint=False),
    )


TOOLS = [made(number) for number in range(int(sys.argv[1]))]


async def list_tools(
    context: Context, params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    return types.ListToolsResult(tools=TOOLS)


async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    user = {"id": (params.arguments or {})["id"], "name": "Alice"}
    content: list[types.ContentBlock] = [types.TextContent(text=json.dumps(user))]
    return types.CallToolResult(content=content, structured_content=user)


async def main() -> None:
    server = Server("bare", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


anyio.run(main)
