"""The limiter in a real broker, which finds it as users' brokers do: by its entry point."""

from __future__ import annotations

import pytest
from enclave_broker_core.testing.harness import open_harness

CONFIG = """
plugins = ["memory", "example-limiter"]

[rate_limit]
backend = { use = "example-limiter" }
global = { max_calls = 2, window = 3600 }
"""


async def now() -> int:
    """The time."""
    return 12


@pytest.mark.anyio
async def test_calls_over_the_limit_are_refused() -> None:
    async with open_harness(CONFIG) as harness:
        harness.broker.tool("clock:now")(now)
        codes = [(await harness.call("clock:now")).code for _ in range(3)]
    assert codes == ["ok", "ok", "RATE_LIMITED"]
