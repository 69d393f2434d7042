"""MCP servers as tools of the broker."""
