"""A server over HTTP on the loop of the test, which answers whatever a test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from enclave_broker_mcp.provider.config import McpConfig
from raw_http import RawServer, Received, answer

JSON = ("Content-Type", "application/json")
Call = Callable[[Any], bytes]


def said(number: Any, result: Any, *more: tuple[str, str]) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()
    return answer(200, [JSON, *more], body)


class Service:
    """A server of the handshake's revisions; ``call`` answers what is called."""

    def __init__(self, call: Call | None = None) -> None:
        self.call = call or (lambda message: said(message["id"], {"content": []}))
        self.session = "first"

    def __call__(self, received: Received) -> bytes:
        if received.method != "POST":
            return answer(405)
        message = json.loads(received.body)
        method, number = message["method"], message.get("id")
        if number is None:
            return answer(202)
        if method == "initialize":
            version = message["params"]["protocolVersion"]
            return said(
                number,
                {
                    "protocolVersion": version,
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "raw", "version": "1"},
                },
                ("Mcp-Session-Id", self.session),
            )
        if method == "server/discover":
            # As the SDK for TypeScript does: the code is not for closed connections only.
            error = {"code": -32000, "message": "Bad Request: Server not initialized"}
            body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
            return answer(400, [JSON], body)
        if received.header("mcp-session-id") != self.session:
            return answer(404)
        if method == "tools/list":
            tools = [{"name": "do", "inputSchema": {"type": "object"}}]
            return said(number, {"tools": tools})
        return self.call(message)


def config(server: RawServer, **more: Any) -> McpConfig:
    given = {
        "name": "web",
        "url": f"{server.url}/mcp",
        "network": {"schemes": ["http"], "allow_private": ["loopback"]},
        "refresh": 0,
    }
    return McpConfig.model_validate(given | more)
