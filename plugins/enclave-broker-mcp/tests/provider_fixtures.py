"""What the tests of MCP servers as tools share: a server of the SDK, and scripts that are none."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from enclave_broker_mcp.provider.config import McpConfig

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
