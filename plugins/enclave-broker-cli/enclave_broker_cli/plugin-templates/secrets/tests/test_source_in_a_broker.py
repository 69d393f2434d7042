"""The source in a real broker, which finds it as users' brokers do: by its entry point."""

from __future__ import annotations

import pytest
from enclave_broker_core import ToolContext
from enclave_broker_core.testing.harness import open_harness

CONFIG = """
plugins = ["memory", "example-secrets"]

[[secrets]]
use = "example-secrets"
path = "secrets.env"
"""


async def sign(ctx: ToolContext) -> list[object]:
    """Sign something with a secret key."""
    key = ctx.secret("KEY")
    return [len(key), f"signed by {key}"]


@pytest.mark.anyio
async def test_a_tool_has_its_secret_and_the_caller_does_not() -> None:
    files = {"secrets.env": "KEY=open-sesame-5b77\n"}
    async with open_harness(CONFIG, files=files) as harness:
        harness.broker.tool("mail:sign", secrets=["KEY"])(sign)
        length, text = (await harness.call("mail:sign")).unwrap()
    assert length == len("open-sesame-5b77")
    assert text.startswith("signed by ")
    assert "sesame" not in text
