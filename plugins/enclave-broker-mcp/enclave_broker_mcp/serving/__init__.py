"""The broker as an MCP server."""
