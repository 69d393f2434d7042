"""What the tests of calls share: a session whose broker must go on, and what it did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from enclave_broker_core import Broker, Event, Session


@asynccontextmanager
async def serving(broker: Broker, **options: Any) -> AsyncIterator[Session]:
    """A session whose broker must, after the block, serve both it and a new session."""

    @broker.tool("next")
    async def next_one(n: int) -> int:
        return n

    async with broker, broker.session(**options) as session:
        yield session
        assert not session.busy
        assert await session.call("next", {"n": 1}) == 1
        async with broker.session() as other:
            assert await other.call("next", {"n": 2}) == 2


async def outcome(session: Session) -> tuple[str, str | None]:
    last = (await session.history())[-1]
    return last.outcome, last.error_code


async def seen(session: Session) -> list[Event]:
    """The events so far."""
    last = (await session.history())[-1].call_id
    found = []
    async for event in session.events():
        found.append(event)
        if event.type == "tool_result_applied" and event.payload["callId"] == last:
            break
    return found
