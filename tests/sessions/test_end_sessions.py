"""All sessions of a broker are ended at once, and the broker goes on."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core import Broker, SessionCancelledError, SessionState

pytestmark = pytest.mark.anyio


async def test_what_runs_is_cancelled_and_told_why() -> None:
    started = anyio.Event()
    stopped: list[str] = []

    async def forever() -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append("forever")

    async with Broker(tools={"forever": forever}) as broker:
        busy, idle = await broker.create_session(), await broker.create_session()
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                with pytest.raises(SessionCancelledError, match="the server is stopping"):
                    await busy.call("forever")

            tasks.start_soon(call)
            await started.wait()
            await broker.end_sessions("the server is stopping")
        assert stopped == ["forever"]
        assert broker.stats().open_sessions == 0
        for session in (busy, idle):
            assert session.info().state is SessionState.CANCELLED
            last = [event async for event in session.events()][-1]
            assert last.payload["error"] == {
                "code": "SESSION_CANCELLED",
                "message": "the server is stopping",
            }
        async with broker.session() as later:
            assert not later.busy


@pytest.mark.parametrize(("says", "expected"), [(None, False), (True, True), ("yes", False)])
async def test_a_store_says_whether_it_is_shared(says: Any, expected: bool) -> None:
    store = MemoryStore()
    if says is not None:
        store.shared = says  # type: ignore[attr-defined]
    async with Broker(store=store) as broker:
        assert broker.is_shared is expected
