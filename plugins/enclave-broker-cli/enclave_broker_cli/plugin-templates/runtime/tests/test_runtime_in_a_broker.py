"""The runtime in a real broker, which finds it as users' brokers do: by its entry point."""

from __future__ import annotations

import pytest
from enclave_broker_core.testing.harness import open_harness

CONFIG = """
plugins = ["memory", "example-runtime"]

[runtime]
use = "example-runtime"
"""


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.mark.anyio
async def test_code_calls_tools_and_finds_what_it_defined() -> None:
    async with open_harness(CONFIG) as harness:
        harness.broker.tool("math:add")(add)
        async with harness.broker.session() as session:
            await session.run('{"$set": ["sum", {"$call": ["math_add", {"a": 1, "b": 2}]}]}')
            outcome = await session.run('{"$get": "sum"}')
            refused = await session.run('{"$call": ["math_add", {"a": "x"}]}')
    assert outcome.unwrap() == 3
    assert not refused.ok
    assert "VALIDATION_ERROR" in str(refused.error)
