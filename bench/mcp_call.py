"""One call over stdio: the broker as an MCP server against the SDK's own. At most 1.5 times."""

from __future__ import annotations

from mcp_stdio import called as cases

__all__ = ["BARS", "TIMES", "TITLE", "TURNS", "cases"]

TITLE = "one call over stdio: enclave-broker mcp against a bare server of the MCP SDK"
BARS = {"broker": 1.5}
TIMES = 20
TURNS = 10
