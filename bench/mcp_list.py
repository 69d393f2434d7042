"""A list of 200 tools over stdio, in the same two ways as ``mcp_call``. At most twice."""

from __future__ import annotations

from mcp_stdio import listed as cases

__all__ = ["BARS", "TIMES", "TITLE", "TURNS", "cases"]

TITLE = "a list of 200 tools over stdio: enclave-broker mcp against a bare server of the MCP SDK"
BARS = {"broker": 2.0}
TIMES = 3
TURNS = 10
