"""The Model Context Protocol, both ways: the broker as a server, and MCP servers as tools."""
