"""The catalog as a list of MCP tools, page by page."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mcp import types
from mcp.shared.exceptions import MCPError
from mcp.types.methods import serialize_server_result
from mcp.types.version import LATEST_HANDSHAKE_VERSION
from pydantic import ValidationError

from enclave_broker_core.export import exported
from enclave_broker_core.models import ToolSpec

_log = logging.getLogger(__name__)


class Listing:
    """Makes each tool once: a spec is the same object until its tool is published anew."""

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._made: dict[str, tuple[ToolSpec, types.Tool | None]] = {}

    def page(
        self,
        tools: Mapping[str, ToolSpec],
        cursor: str | None,
        own: Mapping[str, types.Tool],
    ) -> types.ListToolsResult:
        """The tools from ``cursor`` on, which is the name of the last one before it.

        ``own`` are listed before those of the catalog, and hide their names. MCPError for a
        cursor that is not, or no longer, such a name.
        """
        names = [*own, *(name for name in tools if name not in own)]
        start = 0
        if cursor is not None:
            try:
                start = names.index(cursor) + 1
            except ValueError:
                raise MCPError(types.INVALID_PARAMS, "the cursor is not valid (any more)") from None
        shown = names[start : start + self._page_size]
        more = shown[-1] if start + len(shown) < len(names) else None
        if len(self._made) > 2 * len(tools) + self._page_size:
            self._made.clear()
        made = [own.get(name) or self._tool(name, tools[name]) for name in shown]
        listed = [tool for tool in made if tool is not None]
        return types.ListToolsResult(tools=listed, next_cursor=more)

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """The schema of a tool that has been listed."""
        _, tool = self._made.get(name, (None, None))
        return None if tool is None else tool.input_schema

    def _tool(self, name: str, spec: ToolSpec) -> types.Tool | None:
        """None for what would have clients refuse the whole list."""
        known = self._made.get(name)
        if known is not None and known[0] is spec:
            return known[1]
        [form] = exported("mcp", {name: spec})
        form["inputSchema"]["type"] = "object"
        tool: types.Tool | None = None
        try:
            tool = types.Tool.model_validate(form, by_name=False)
            serialize_server_result("tools/list", LATEST_HANDSHAKE_VERSION, {"tools": [form]})
        except ValidationError:
            _log.warning("%s is not listed: its schemas are none that MCP takes", spec.name)
            tool = None
        self._made[name] = spec, tool
        return tool
