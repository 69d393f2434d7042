"""The sink in a real broker, which finds it as users' brokers do: by its entry point."""

from __future__ import annotations

import pytest
from enclave_broker_core.testing.harness import open_harness

CONFIG = """
plugins = ["memory", "example-sink"]

[[sinks]]
use = "example-sink"
level = "warning"
"""


async def now() -> int:
    """The time."""
    return 12


@pytest.mark.anyio
async def test_calls_are_logged_also_those_that_are_refused() -> None:
    async with open_harness(CONFIG) as harness:
        harness.broker.tool("clock:now")(now)
        await harness.call("clock:now")
        await harness.call("clock:now", allowed_tools=["other:*"])
    lines = harness.logged(logger="enclave_broker_example_sink")
    calls = [line for line in lines if line.startswith("call ")]
    assert [line.partition(" of ")[2].partition(" after ")[0] for line in calls] == [
        "'clock:now': 'ok'",
        "'clock:now': 'ACCESS_DENIED'",
    ]
