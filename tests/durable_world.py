"""Brokers on one store, of which the first dies at a given step, and what must be true then."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from shared_memory import Replica, SharedMemory

from enclave_broker_core import (
    Broker,
    Event,
    Session,
    SessionSettings,
    ToolContext,
    ToolError,
)
from enclave_broker_core.errors import SessionLostError
from enclave_broker_core.loops import running_loop

KEY = "a key that all the brokers share"


class Dying(Replica):
    """Dies at its ``dies_at``-th write from ``count`` on: before it happens, or just after.

    From then on nothing that its broker does has any effect.
    """

    def __init__(self, backend: SharedMemory) -> None:
        super().__init__(backend)
        self.writes: int | None = None
        self.dies_at: int | None = None
        self.after = False
        self.died = anyio.Event()
        self.saves: list[bytes] = []

    def count(self, dies_at: int | None = None, *, after: bool = False) -> None:
        self.writes, self.dies_at, self.after = 0, dies_at, after

    async def _write(self, write: Callable[[], Any]) -> Any:
        if self.writes is not None:
            self.writes += 1
            if self.writes == self.dies_at:
                if self.after:
                    await write()
                self.die()
                raise SessionLostError("this replica has died")
        return await write()

    def die(self) -> None:
        self.died.set()
        self.cut_off()
        self.find_out()

    async def append(self, *args: Any, **kwargs: Any) -> int:
        seq: int = await self._write(lambda: super(Dying, self).append(*args, **kwargs))
        return seq

    async def save(self, *args: Any, **kwargs: Any) -> None:
        self.saves.append(args[1])
        await self._write(lambda: super(Dying, self).save(*args, **kwargs))

    async def end(self, *args: Any, **kwargs: Any) -> bool:
        ended: bool = await self._write(lambda: super(Dying, self).end(*args, **kwargs))
        return ended


class World:
    """Any number of brokers with the same tools.

    ``ran`` has session, call and tool of each handler that began. ``read`` and ``fail`` are
    idempotent, the others are not.
    """

    def __init__(
        self, runtime: Callable[[], Any], key: str = KEY, store: type[Dying] = Dying
    ) -> None:
        self.backend = SharedMemory()
        self._store = store
        self.runtime = runtime
        self.key = key
        self.settings = SessionSettings(durable_key=key)
        self.ran: list[tuple[str, str, str]] = []
        self.hold = anyio.Event()

    @asynccontextmanager
    async def broker(
        self, settings: SessionSettings | None = None, **parts: Any
    ) -> AsyncIterator[tuple[Broker, Dying]]:
        store = self._store(self.backend)
        chosen = settings or self.settings
        made: Any = {"store": store, "runtime": self.runtime(), "sessions": chosen} | parts
        broker = Broker(**made)

        async def pay(n: int, ctx: ToolContext) -> int:
            self.ran.append((ctx.session.id, ctx.call_id, ctx.tool))
            await anyio.lowlevel.checkpoint()
            return n * 10

        async def read(n: int, ctx: ToolContext) -> int:
            self.ran.append((ctx.session.id, ctx.call_id, ctx.tool))
            await anyio.lowlevel.checkpoint()
            return n + 1

        async def pay_slowly(ctx: ToolContext) -> str:
            self.ran.append((ctx.session.id, ctx.call_id, ctx.tool))
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            return "paid"

        async def fail(ctx: ToolContext) -> None:
            self.ran.append((ctx.session.id, ctx.call_id, ctx.tool))
            raise ToolError("no luck")

        async def held(ctx: ToolContext) -> str:
            self.ran.append((ctx.session.id, ctx.call_id, ctx.tool))
            await self.hold.wait()
            return "held"

        broker.tool("pay")(pay)
        broker.tool("pay_slowly")(pay_slowly)
        broker.tool("read", idempotent=True)(read)
        broker.tool("fail", idempotent=True)(fail)
        broker.tool("held")(held)
        async with broker:
            yield broker, store

    async def log(self, session_id: str) -> list[Event]:
        return list(await self.backend.memory.read(session_id, limit=100_000))

    async def until_final(self, session_id: str) -> list[Event]:
        """The whole log, when it has its final event."""
        from_seq = 1
        while True:
            found = await self.backend.memory.read(session_id, from_seq, wait=60)
            from_seq += len(found)
            if found and found[-1].type == "final":
                return await self.log(session_id)


async def taken(broker: Broker, session_id: str, *, idle: bool = False) -> Session:
    """The session, as soon as this broker has it or, when ``idle``, no run of it is under way."""
    with anyio.fail_after(10):
        while True:
            session = await broker.get_session(session_id)
            if isinstance(session, Session) and not (idle and session.busy):
                return session
            await anyio.lowlevel.checkpoint()


async def died_or_ended(world: World, session_id: str, store: Dying) -> None:
    async with anyio.create_task_group() as tasks:

        async def first(what: Callable[[], Awaitable[object]]) -> None:
            await what()
            tasks.cancel_scope.cancel()

        tasks.start_soon(first, lambda: world.until_final(session_id))
        tasks.start_soon(first, store.died.wait)


NOT_REPEATED = {"pay", "pay_slowly", "held"}


def in_doubt(log: list[Event]) -> dict[str, str]:
    """The calls that the log has no result of, with their tools."""
    begun = {
        event.payload["callId"]: event.payload["toolName"]
        for event in log
        if event.type == "tool_call"
    }
    for event in log:
        if event.type == "tool_result_applied":
            del begun[event.payload["callId"]]
    return begun


def require_consistent(log: list[Event], ran: list[tuple[str, str, str]]) -> None:
    """What is true of every log, whatever happened."""
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert [event.type for event in log].count("final") == 1
    assert log[-1].type == "final"
    for kind in ("tool_call", "tool_result_applied"):
        ids = Counter(event.payload["callId"] for event in log if event.type == kind)
        assert set(ids.values()) <= {1}, kind
    once = Counter(one for one in ran if one[2] in NOT_REPEATED)
    assert set(once.values()) <= {1}


def printed(log: list[Event]) -> list[str]:
    """The lines that were printed; on trio, which shuffles its tasks, in another order."""
    lines = "".join(event.payload["chunk"] for event in log if event.type == "stdout").split("\n")
    return sorted(lines) if running_loop() == "trio" else lines


def require_outcome(log: list[Event], whole: list[Event], doubt: dict[str, str]) -> None:
    """It ended as the undisturbed run did or, when a call was in doubt, as lost because of it."""
    final, wanted = log[-1].payload, whole[-1].payload
    lost = [call_id for call_id, tool in doubt.items() if tool in NOT_REPEATED]
    if lost:
        assert final["error"]["code"] == "SESSION_LOST"
        assert any(call_id in final["error"]["message"] for call_id in lost)
        assert Counter(printed(log)) <= Counter(printed(whole))
        if running_loop() == "asyncio":
            assert printed(whole)[: len(printed(log)) - 1] == printed(log)[:-1]
        return
    assert printed(log) == printed(whole)
    assert final.get("error") == wanted.get("error")
    assert final.get("result") == wanted.get("result")
    assert final["stats"]["toolCallCount"] == wanted["stats"]["toolCallCount"]
    assert final["stats"]["stdoutBytes"] == wanted["stats"]["stdoutBytes"]
