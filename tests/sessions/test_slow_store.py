"""Sessions on a store whose writing takes its time, as one in another process does."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core import Broker, SessionCancelledError
from enclave_broker_core.testing.faults import Faults, hangs
from enclave_broker_core.testing.gates import Gate

pytestmark = pytest.mark.anyio


def slow(kind: str, gate: Gate) -> Any:
    """A store that waits at the gate to append an event of a kind, shielded, as stores do."""
    faults = Faults()
    meant = hangs(gate, shielded=True)
    faults.on("append", meant, where=lambda session, event, call=None: event[0] == kind)
    return faults.around(MemoryStore())


@pytest.mark.parametrize("kind", ["tool_call", "tool_result_applied"])
async def test_a_session_that_ends_while_a_call_is_recorded(kind: str) -> None:
    gate = Gate()
    ran: list[int] = []
    broker = Broker(store=slow(kind, gate))

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
            await gate.reached()
            tasks.start_soon(session.cancel, "enough")
            await anyio.wait_all_tasks_blocked()
            assert not session.ended.is_set()
            gate.open()
        kinds = [event.type async for event in session.events()]
        assert kinds == ["session_init", "tool_call", "tool_result_applied", "final"]
        assert [one.outcome for one in await session.history()] == [
            "cancelled" if kind == "tool_call" else "ok"
        ]
    # Before its handler ran to the end, or after: never with half of it seen as a success.
    assert answers == (["enough"] if kind == "tool_call" else ["t"])
    assert 2 not in ran if kind == "tool_call" else ran == [1, 2]


async def test_a_caller_that_is_cancelled_while_its_call_is_recorded() -> None:
    gate = Gate()
    broker = Broker(store=slow("tool_result_applied", gate))
    broker.tool("t")(anyio.lowlevel.checkpoint)
    async with broker, broker.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.call, "t")
            await gate.reached()
            tasks.cancel_scope.cancel()
            gate.open()
        assert not session.busy
        assert [one.outcome for one in await session.history()] == ["ok"]
        await session.call("t")
        assert len(await session.history()) == 2
