"""The policy in a real broker, which finds it as users' brokers do: by its entry point."""

from __future__ import annotations

import pytest
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.harness import open_harness

ADA = Principal(id="ada", roles=frozenset({"user"}))
ROOT = Principal(id="root", roles=frozenset({"admin"}))

CONFIG = """
plugins = ["memory", "example-policy"]

[access]
use = "example-policy"
tools = "notes:*"
exempt_roles = ["admin"]
"""


async def read(owner: str) -> str:
    """Read somebody's note."""
    return f"the note of {owner}"


@pytest.mark.anyio
async def test_callers_reach_what_is_theirs() -> None:
    async with open_harness(CONFIG) as harness:
        harness.broker.tool("notes:read")(read)
        own = await harness.call("notes:read", {"owner": "ada"}, principal=ADA)
        other = await harness.call("notes:read", {"owner": "bob"}, principal=ADA)
        exempt = await harness.call("notes:read", {"owner": "bob"}, principal=ROOT)
    assert own.unwrap() == "the note of ada"
    assert other.code == "ACCESS_DENIED"
    assert exempt.unwrap() == "the note of bob"
