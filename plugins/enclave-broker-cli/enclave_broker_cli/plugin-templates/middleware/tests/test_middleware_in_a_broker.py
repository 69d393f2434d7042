"""The middleware in a real broker, which finds it as users' brokers do: by its entry point."""

from __future__ import annotations

import pytest
from enclave_broker_core.testing.harness import open_harness

CONFIG = """
plugins = ["memory", "example-middleware"]

[[middleware]]
use = "example-middleware"
seconds = 1e-9
"""


async def now() -> int:
    """The time."""
    return 12


@pytest.mark.anyio
async def test_a_slow_call_is_logged_and_has_its_result() -> None:
    async with open_harness(CONFIG) as harness:
        harness.broker.tool("clock:now")(now)
        outcome = await harness.call("clock:now")
    assert outcome.unwrap() == 12
    (told,) = harness.logged(logger="enclave_broker_example_middleware")
    assert told.startswith("'clock:now' took ")
