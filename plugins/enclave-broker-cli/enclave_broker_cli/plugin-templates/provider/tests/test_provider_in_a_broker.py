"""The provider in a real broker, which finds it as users' brokers do: by its entry point."""

from __future__ import annotations

import pytest
from enclave_broker_core.testing.harness import open_harness

CONFIG = """
plugins = ["memory", "example-provider"]

[[tools]]
use = "example-provider"
name = "notes"
path = "notes"
"""


@pytest.mark.anyio
async def test_notes_are_listed_and_read() -> None:
    files = {"notes/shopping.txt": "milk", "notes/later.txt": "rest"}
    async with open_harness(CONFIG, files=files) as harness:
        listed = await harness.call("notes:list")
        read = await harness.call("notes:read", {"name": "shopping"})
        outside = await harness.call("notes:read", {"name": "../broker"})
    assert listed.unwrap() == ["later", "shopping"]
    assert read.unwrap() == "milk"
    assert outside.code == "VALIDATION_ERROR"
