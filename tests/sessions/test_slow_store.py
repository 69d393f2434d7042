"""Sessions on a store whose writing takes its time, as one in another process does."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core import Broker, SessionCancelledError

pytestmark = pytest.mark.anyio


class SlowStore(MemoryStore):
    """Each append of one kind of event waits at a gate, shielded, as the contract says."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.waiting = anyio.Event()
        self.gate = anyio.Event()

    async def append(self, session_id: str, event: Any, call: Any = None) -> int:
        if event[0] == self.kind:
            with anyio.CancelScope(shield=True):
                self.waiting.set()
                await self.gate.wait()
        return await super().append(session_id, event, call)


@pytest.mark.parametrize("kind", ["tool_call", "tool_result_applied"])
async def test_a_session_that_ends_while_a_call_is_recorded(kind: str) -> None:
    store = SlowStore(kind)
    ran: list[int] = []
    broker = Broker(store=store)

    @broker.tool("t")
    async def t() -> str:
        ran.append(1)
        await anyio.lowlevel.checkpoint()
        ran.append(2)
        return "t"

    async with broker:
        session = await broker.create_session()
        answers: list[Any] = []

        async def call() -> None:
            try:
                answers.append(await session.call("t"))
            except SessionCancelledError as error:
                answers.append(error.message)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await store.waiting.wait()
            tasks.start_soon(session.cancel, "enough")
            await anyio.wait_all_tasks_blocked()
            assert not session.ended.is_set()
            store.gate.set()
        kinds = [event.type async for event in session.events()]
        assert kinds == ["session_init", "tool_call", "tool_result_applied", "final"]
        assert [one.outcome for one in await session.history()] == [
            "cancelled" if kind == "tool_call" else "ok"
        ]
    # Before its handler ran to the end, or after: never with half of it seen as a success.
    assert answers == (["enough"] if kind == "tool_call" else ["t"])
    assert 2 not in ran if kind == "tool_call" else ran == [1, 2]


async def test_a_caller_that_is_cancelled_while_its_call_is_recorded() -> None:
    store = SlowStore("tool_result_applied")
    broker = Broker(store=store)
    broker.tool("t")(anyio.lowlevel.checkpoint)
    async with broker, broker.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.call, "t")
            await store.waiting.wait()
            tasks.cancel_scope.cancel()
            store.gate.set()
        assert not session.busy
        assert [one.outcome for one in await session.history()] == ["ok"]
        await session.call("t")
        assert len(await session.history()) == 2
