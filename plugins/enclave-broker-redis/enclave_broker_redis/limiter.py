"""Exact sliding windows on the servers, by their clock, for all brokers together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from redis.crc import key_slot

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import StoreError
from enclave_broker_core.models import Admission, Window
from enclave_broker_core.windows import ADMITTED

from .config import ServerConfig
from .engine import Engine, open_engine
from .keys import Keys
from .ops import Op, Script
from .windows import Plan, Plans, Share, admission


class RedisLimiter:
    """The Limiter whose windows are on a server or, of a cluster, on several.

    On one server all windows of a call are counted in one step. On a cluster there is one
    step for each slot: what some counted is given back when others refuse, so for that
    moment a call that comes second may be refused though there is room.
    """

    def __init__(self, engine: Engine, prefix: str) -> None:
        self._engine = engine
        self.plans = Plans(Keys(prefix), _slot if engine.clustered else None)
        # Twice is one too many: what may have been counted is never counted again.
        self._acquire = Script("acquire", "windows", again=False)
        self._give_back = Script("give_back")
        self._remaining = Script("remaining", "windows")

    async def acquire(self, windows: Sequence[Window]) -> Admission:
        plan = self.plans.of(windows)
        if len(plan.shares) == 1:
            [share] = plan.shares
            place, time = await self._engine.run(self._acquire, share.keys, share.arguments)
            return ADMITTED if not place else Admission(windows[place - 1], time / 1_000_000)
        if not plan.shares:
            return ADMITTED
        return await self._from_all(plan)

    async def _from_all(self, plan: Plan) -> Admission:
        """Count in every share, or in none of them."""
        begun = [
            (share, self._engine.run(self._acquire, share.keys, share.arguments))
            for share in plan.shares
        ]
        counted: list[tuple[Share, int]] = []
        refusals: dict[int, int] = {}
        every = False
        try:
            for share, op in begun:
                place, time = await op.finished()
                if place:
                    refusals[share.places[place - 1]] = time
                else:
                    counted.append((share, time))
            every = not refusals
        finally:
            if not every:
                with anyio.CancelScope(shield=True):
                    await self._take_back(begun, counted)
        return admission(plan.windows, refusals)

    async def _take_back(
        self, begun: Sequence[tuple[Share, Op]], counted: Sequence[tuple[Share, int]]
    ) -> None:
        back = {id(share): time for share, time in counted}
        for share, op in begun:
            # Of those behind one that failed, or where the caller was cancelled.
            if id(share) not in back:
                if not op.done:
                    with suppress(StoreError):
                        await op.finished()
                place, time = (1, 0) if op.failed else op.reply
                if not place:
                    back[id(share)] = time
        ops = [
            self._engine.run(self._give_back, share.keys, [back[id(share)]])
            for share, _ in begun
            if id(share) in back
        ]
        for op in ops:
            # It counts for the length of its window, which is the safe side.
            with suppress(StoreError):
                await op

    async def remaining(self, windows: Sequence[Window]) -> Sequence[int]:
        """How many calls each window has room for now."""
        left = dict.fromkeys(range(len(windows)), 0)
        for share in self.plans.of(windows).shares:
            found = await self._engine.run(self._remaining, share.keys, share.arguments)
            left |= zip(share.places, found, strict=True)
        return list(left.values())

    async def check(self) -> None:
        await self._engine.check()


def _slot(key: str) -> int:
    return int(key_slot(key.encode()))


@asynccontextmanager
async def open_limiter(config: ServerConfig, context: OpenContext) -> AsyncIterator[RedisLimiter]:
    async with open_engine(config) as engine:
        yield RedisLimiter(engine, config.prefix)
