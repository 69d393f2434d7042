"""A store that several brokers of one process share: each has its own replica of it.

Everything happens at once and in one process, so that what brokers make of a shared store can
be tested on both event loops, step by step. A replica that is cut off counts as dead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.errors import (
    SessionEndedError,
    SessionLostError,
    SessionNotFoundError,
    StoreError,
)
from enclave_broker_core.events import Draft
from enclave_broker_core.models import SessionRecord, SessionState
from enclave_broker_core.store_abilities import Holder, Saved


class SharedMemory:
    """What the replicas share."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.holders: dict[str, Replica] = {}
        self.states: dict[str, bytes] = {}
        self.answers: dict[str, dict[str, bytes]] = {}
        self.changed = anyio.Event()

    def changes(self) -> None:
        changed, self.changed = self.changed, anyio.Event()
        changed.set()


class Replica:
    """The SharedStore and DurableStore of one broker."""

    shared = True
    lease = 0.1

    def __init__(self, backend: SharedMemory) -> None:
        self._backend = backend
        self._holder: Holder | None = None
        self.alive = True
        self.out_of_reach = False

    def cut_off(self) -> None:
        """It counts as dead from now on: what it holds is free for others."""
        self.alive = False
        self._backend.changes()

    def find_out(self) -> None:
        """It learns that it was cut off."""
        if self._holder is not None:
            for session_id in self._backend.holders:
                self._holder.lost(session_id)

    # The lease

    def _require(self, session_id: str) -> None:
        if self.out_of_reach:
            raise StoreError("the store is out of reach", retry_after=1.0)
        if not self.alive or self._backend.holders.get(session_id, self) is not self:
            if self._holder is not None:
                self._holder.lost(session_id)
            raise SessionLostError("this replica does not hold the session")

    async def serve(self, holder: Holder) -> None:
        self._holder = holder
        backend = self._backend
        try:
            while True:
                changed = backend.changed
                for session_id, replica in list(backend.holders.items()):
                    if self.alive and not replica.alive and backend.holders[session_id] is replica:
                        await self._take_up(session_id, holder)
                await changed.wait()
        finally:
            self.cut_off()

    async def _take_up(self, session_id: str, holder: Holder) -> None:
        self._backend.holders[session_id] = self
        record = await self._backend.memory.get(session_id)
        while record is not None and not record.state.ended:
            with suppress(Exception):
                return await holder.take_up(record)
            await checkpoint()
        return None

    async def ask(self, session_id: str, body: bytes) -> bytes:
        record = await self._found(session_id)
        if record.state.ended:
            raise SessionEndedError("the session has ended")
        replica = self._backend.holders[session_id]
        answers: list[bytes] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(replica._answer, session_id, body, answers, tasks.cancel_scope)
            while replica.alive:
                await self._backend.changed.wait()
            tasks.cancel_scope.cancel()
        if not answers:
            raise SessionLostError("the holder has gone with the command in hand")
        return answers[0]

    async def _answer(
        self, session_id: str, body: bytes, answers: list[bytes], scope: anyio.CancelScope
    ) -> None:
        assert self._holder is not None
        answers.append(await self._holder.command(session_id, body))
        scope.cancel()

    # Writing

    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        await self._backend.memory.create(record, **bounds)
        self._backend.holders[record.id] = self

    async def append(
        self,
        session_id: str,
        event: Draft,
        call: CallRecord | None = None,
        *,
        answer: bytes | None = None,
    ) -> int:
        self._require(session_id)
        if call is not None and answer is not None:
            self._backend.answers.setdefault(session_id, {})[call.call_id] = answer
        return await self._backend.memory.append(session_id, event, call)

    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        self._require(session_id)
        self._backend.states.pop(session_id, None)
        ended = await self._backend.memory.end(session_id, final, state, at)
        self._backend.changes()
        return ended

    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        self._require(session_id)
        record = await self._found(session_id)
        if record.state.ended:
            raise SessionEndedError("the session has ended")
        self._backend.states[session_id] = state
        kept = self._backend.answers.get(session_id, {})
        self._backend.answers[session_id] = {one: kept[one] for one in keep if one in kept}

    async def saved(self, session_id: str) -> Saved | None:
        await self._found(session_id)
        state = self._backend.states.get(session_id)
        answers = self._backend.answers.get(session_id, {})
        return None if state is None else Saved(state, dict(answers))

    async def _found(self, session_id: str) -> SessionRecord:
        record = await self.get(session_id)
        if record is None:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return record

    # What needs no lease

    async def get(self, session_id: str) -> SessionRecord | None:
        return await self._backend.memory.get(session_id)

    async def list(self, **wanted: Any) -> Sequence[SessionRecord]:
        return await self._backend.memory.list(**wanted)

    async def read(self, session_id: str, from_seq: int = 1, **wanted: Any) -> Any:
        return await self._backend.memory.read(session_id, from_seq, **wanted)

    async def history(self, session_id: str) -> Any:
        return await self._backend.memory.history(session_id)

    async def claim(self, session_id: str, key: str, fingerprint: str, **wanted: Any) -> Any:
        return await self._backend.memory.claim(session_id, key, fingerprint, **wanted)

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        await self._backend.memory.settle(session_id, key, answer)

    async def release(self, session_id: str, key: str) -> None:
        await self._backend.memory.release(session_id, key)

    async def delete(self, session_id: str) -> bool:
        for kept in (self._backend.holders, self._backend.states, self._backend.answers):
            kept.pop(session_id, None)
        return await self._backend.memory.delete(session_id)

    async def sweep(self, now: float) -> int:
        return await self._backend.memory.sweep(now)

    async def check(self) -> None:
        if self.out_of_reach:
            raise StoreError("the store is out of reach", retry_after=1.0)


@asynccontextmanager
async def replicas(count: int) -> AsyncIterator[list[Replica]]:
    backend = SharedMemory()
    yield [Replica(backend) for _ in range(count)]
