"""The store in a real broker, by a configuration."""

from __future__ import annotations

import pytest
from enclave_broker_core.testing.harness import open_harness

import enclave_broker_postgres

CONFIG = """
plugins = ["memory"]

[store]
use = "postgres"
"""


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.mark.anyio
async def test_what_happened_can_be_read_when_the_session_has_ended() -> None:
    async with open_harness(CONFIG, enclave_broker_postgres) as harness:
        harness.broker.tool("math:add")(add)
        async with harness.broker.session(session_id="s_mine") as session:
            assert (await harness.call("math:add", {"a": 1, "b": 2}, session=session)).unwrap() == 3
        ended = await harness.broker.get_session("s_mine")
        types = [event.type for event in await harness.events("s_mine")]
        tools = [call.tool for call in await ended.history()]
    assert ended.state.value == "completed"
    assert (types[0], types[-1]) == ("session_init", "final")
    assert "tool_call" in types
    assert tools == ["math:add"]
