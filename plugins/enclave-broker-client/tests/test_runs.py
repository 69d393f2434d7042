"""Code that runs in a session of its own."""

from __future__ import annotations

import pytest
from enclave_broker_client import Client
from served import QUICK, Server

pytestmark = pytest.mark.anyio


async def test_run(server: Server) -> None:
    async with Client(server.url, settings=QUICK) as client:
        outcome = await client.run('await call_tool("test:echo", {"value": [1, None]})')
    assert outcome.ok
    assert outcome.unwrap() == [1, None]
    assert outcome.stats.tool_calls == 1
