"""Wakes those who wait for something of a session that another process runs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import anyio

from enclave_broker_core.errors import StoreError

from .engine import Engine
from .inbox import Outbox
from .keys import Keys
from .ops import Script
from .wakeups import Bell, Wakeups
from .writing import Writing

_log = logging.getLogger(__name__)

FOLLOW = Script("follow")

# A follower asks again and again: so many seconds after the last time it is one no more.
LINGERS = 5.0
# How long what happens elsewhere may go unnoticed, should a word of it have been lost.
LOOK = 2.0


class Followings(Wakeups):
    """The bells of this process; as long as some wait for a session that it does not hold, its
    holder tells this replica of all that happens there."""

    def __init__(self, engine: Engine, keys: Keys, outbox: Outbox) -> None:
        super().__init__()
        self._engine = engine
        self._keys = keys
        self._outbox = outbox
        self._writing: Writing | None = None
        self._followed: dict[str, float] = {}
        self._told = False

    def attach(self, writing: Writing) -> None:
        """Know what is held here, and under which name."""
        self._writing = writing

    @asynccontextmanager
    async def following(self, session_id: str) -> AsyncIterator[Bell]:
        async with super().following(session_id) as bell:
            if self._told and self._writing is not None and not self._writing.holds(session_id):
                if session_id not in self._followed:
                    await self._follow(session_id, self._writing.replica, 1)
                self._followed[session_id] = monotonic()
                bell.look = LOOK
            yield bell

    async def _follow(self, session_id: str, replica: str, on: int) -> None:
        await self._engine.run(FOLLOW, [self._keys.of(session_id, "s")], [replica, on])

    def tell(self, session_id: str, followers: bytes) -> None:
        own = None if self._writing is None else self._writing.replica
        for replica in followers.decode().split():
            if replica != own:
                self._outbox.ring(replica, session_id)

    async def keep(self) -> None:
        """While this runs, others tell this replica what it waits for."""
        self._told = True
        try:
            while True:
                await anyio.sleep(LINGERS / 2)
                await self._forget(monotonic() - LINGERS)
        finally:
            self._told = False

    async def _forget(self, before: float) -> None:
        idle = [
            session_id
            for session_id, at in self._followed.items()
            if at < before and not self.waits_for(session_id)
        ]
        for session_id in idle:
            del self._followed[session_id]
            if self._writing is not None:
                try:
                    await self._follow(session_id, self._writing.replica, 0)
                except StoreError as problem:
                    _log.debug("session %s is followed for longer: %s", session_id, problem)

    def renamed(self) -> None:
        """Nobody knows this replica by its name any more."""
        self._followed.clear()
