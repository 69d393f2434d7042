"""Keeps a store together with those of other processes: its lease, its inbox, its commands."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio

from enclave_broker_core.models import SessionRecord
from enclave_broker_core.store_abilities import Holder

from .commands import Commands
from .config import RedisConfig
from .engine import Engine
from .following import Followings
from .inbox import Inbox, Outbox, Told
from .index import Index
from .keys import Keys
from .leases import Leases
from .writing import Writing

Find = Callable[[str], Awaitable[SessionRecord | None]]


class Serving:
    """What one replica says to the others, and hears from them."""

    def __init__(
        self,
        engine: Engine,
        keys: Keys,
        config: RedisConfig,
        index: Index,
        writing: Writing,
        wakeups: Followings,
        outbox: Outbox,
    ) -> None:
        self._index = index
        self._writing = writing
        self._wakeups = wakeups
        self.leases = Leases(engine, keys, index, writing, outbox, config.lease)
        self.commands = Commands(engine, keys, writing, outbox)
        self._inbox = Inbox(engine, keys, self._heard)
        # A read that waits longer could not be told from a server that is gone.
        self._block = config.timeout / 2
        self._reading = anyio.CancelScope()

    async def serve(self, holder: Holder, find: Find) -> None:
        self._writing.holder = holder

        async def take_up(session_id: str) -> None:
            token = self._writing.token(session_id)
            record = await find(session_id)
            if token is None:
                return
            if record is None:
                self._writing.let_go(session_id)
                return
            await self.commands.inherit(session_id, token)
            if record.state.ended:
                await self._ended(record, token)
                return
            await holder.take_up(record)
            self.commands.look(session_id)

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen)
                tasks.start_soon(self.commands.serve, holder)
                tasks.start_soon(self._wakeups.keep)
                tasks.start_soon(self.leases.serve, take_up, self._lost)
        finally:
            self._writing.holder = None
            with anyio.CancelScope(shield=True):
                await self.leases.leave()

    async def _ended(self, record: SessionRecord, token: str) -> None:
        """Finish what this process began: it ended the session, and was not told so."""
        whose = await self._index.whose(record.id)
        if whose is not None:
            await self._index.conclude(record.id, whose, record.ended_at or time.time())
        await self.commands.refuse(record.id, token)
        self._writing.let_go(record.id)

    async def _listen(self) -> None:
        """Read the inbox of the name that this replica has."""
        while True:
            with anyio.CancelScope() as self._reading:
                await self._inbox.read(self._writing.replica, self._block)

    def _heard(self, told: Told) -> None:
        sessions = told.get(b"e")
        if sessions is None:
            self.commands.heard(told)
            return
        for session_id in sessions.decode().split():
            self._wakeups.wake(session_id)

    def _lost(self) -> None:
        """All that this replica held is another's, or will be."""
        holder = self._writing.holder
        self._wakeups.renamed()
        self._reading.cancel()
        for session_id in self._writing.held():
            self._writing.let_go(session_id)
            if holder is not None:
                holder.lost(session_id)
