"""The provider as the client under test: lists a server's tools and calls each of them once."""

from __future__ import annotations

import sys

import anyio
from enclave_broker_mcp.provider.config import McpConfig
from enclave_broker_mcp.provider.opening import open_server

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.contexts import RecordingContext


async def main(url: str) -> None:
    config = McpConfig.model_validate(
        {
            "name": "suite",
            "url": url.replace("localhost", "127.0.0.1"),
            "protocol": "handshake",
            "network": {"schemes": ["http"], "allow_private": ["loopback"]},
        }
    )
    async with open_server(config, OpenContext("suite")) as provider:
        for tool in await provider.tools():
            given = tool.validate(b'{"a":2,"b":3}' if "add" in tool.spec.name else b"{}")
            print(await tool.invoke(given, RecordingContext(tool.spec.name)))


anyio.run(main, sys.argv[1])
