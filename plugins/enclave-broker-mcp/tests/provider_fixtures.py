"""What the tests of MCP servers as tools share: a server of the SDK, and scripts that are none."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from enclave_broker_mcp.provider.config import McpConfig
from enclave_broker_mcp.provider.opening import open_server
from enclave_broker_mcp.provider.provider import McpProvider
from pydantic_core import to_json

from enclave_broker_core.contracts import OpenContext, ToolProvider
from enclave_broker_core.testing.contexts import RecordingContext

HERE = Path(__file__).parent
# Without the site, a program that needs nothing starts in no time.
PLAIN = ("-I", "-S")


@dataclass(frozen=True)
class SdkServer:
    """A server of the SDK that runs in a process of its own."""

    http: int
    relay: int

    def over_stdio(self, **more: Any) -> McpConfig:
        given = {
            "name": "sample",
            "command": sys.executable,
            "args": [*PLAIN, str(HERE / "provider_relay.py"), str(self.relay)],
        }
        return McpConfig.model_validate(given | more)

    def over_http(self, **more: Any) -> McpConfig:
        given = {
            "name": "sample",
            "url": f"http://127.0.0.1:{self.http}/mcp",
            "network": {"schemes": ["http"], "allow_private": ["loopback"]},
        }
        return McpConfig.model_validate(given | more)

    async def until_running(self, calls: int) -> None:
        """Wait until so many calls are under way at the server."""
        url = f"http://127.0.0.1:{self.http}/running?is={calls}"
        await anyio.to_thread.run_sync(lambda: urllib.request.urlopen(url, timeout=10).read())


@contextmanager
def sdk_server() -> Iterator[SdkServer]:
    with subprocess.Popen(
        [sys.executable, str(HERE / "provider_server.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            http, relay = process.stdout.readline().split()
            yield SdkServer(int(http), int(relay))
        finally:
            process.kill()


def raw(table: dict[str, Any] | None = None, **more: Any) -> McpConfig:
    """A server that is a script, and misbehaves as its table says."""
    given = {
        "name": "raw",
        "command": sys.executable,
        "args": [*PLAIN, str(HERE / "provider_raw.py"), json.dumps(table or {})],
    }
    return McpConfig.model_validate(given | more)


async def invoke(
    provider: ToolProvider, name: str, context: RecordingContext | None = None, **arguments: Any
) -> Any:
    """The result of a call of one of a provider's tools."""
    tools = {tool.spec.name: tool for tool in await provider.tools()}
    tool = tools[name]
    checked = tool.validate(to_json(arguments))
    return await tool.invoke(checked, context or RecordingContext(name))


@asynccontextmanager
async def opened(
    config: McpConfig, context: OpenContext | None = None
) -> AsyncIterator[McpProvider]:
    """A provider for one test, which is not to take long."""
    with anyio.fail_after(20):
        async with open_server(config, context or OpenContext("raw")) as provider:
            yield provider


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so that tells nobody of it."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.01)
