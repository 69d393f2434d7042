"""MCP servers as tools of the broker: the tool provider ``mcp``."""
