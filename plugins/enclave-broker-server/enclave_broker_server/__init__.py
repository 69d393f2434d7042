"""The broker on a network: HTTP, NDJSON, server-sent events and WebSocket."""
