"""The policy in a real broker, which finds it as users' brokers do: by its entry point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from enclave_broker_core import AccessDeniedError, Principal, open_broker

pytestmark = pytest.mark.anyio

CONFIG: Mapping[str, Any] = {
    "plugins": ["memory", "example-policy"],
    "access": {
        "use": "example-policy",
        "tools": "notes:*",
        "exempt_roles": ["admin"],
    },
}


async def read(owner: str) -> str:
    """Read somebody's note."""
    return f"the note of {owner}"


async def test_callers_reach_what_is_theirs() -> None:
    ada = Principal(id="ada", roles=frozenset({"user"}))
    async with open_broker(CONFIG) as broker:
        broker.tool("notes:read")(read)
        async with broker.session(principal=ada) as session:
            assert await session.call("notes:read", {"owner": "ada"}) == "the note of ada"
            with pytest.raises(AccessDeniedError):
                await session.call("notes:read", {"owner": "bob"})


async def test_who_is_exempt_reaches_all() -> None:
    root = Principal(id="root", roles=frozenset({"admin"}))
    async with open_broker(CONFIG) as broker:
        broker.tool("notes:read")(read)
        async with broker.session(principal=root) as session:
            assert await session.call("notes:read", {"owner": "bob"}) == "the note of bob"
