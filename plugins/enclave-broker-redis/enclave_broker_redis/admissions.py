"""Writes a call's first event and counts the call, in one step where one server has both."""

from __future__ import annotations

from collections.abc import Sequence

from enclave_broker_core.errors import LimiterError, StoreError
from enclave_broker_core.events import Draft
from enclave_broker_core.models import Admission, Window
from enclave_broker_core.windows import ADMITTED

from .config import RedisConfig
from .engine import Engine
from .keys import Keys
from .limiter import RedisLimiter
from .ops import Argument, Op, Script
from .writing import Writing


class Admissions:
    """``AdmittingStore.admit``; on a cluster the windows are elsewhere, and counted after."""

    def __init__(
        self,
        engine: Engine,
        keys: Keys,
        config: RedisConfig,
        writing: Writing,
        limiter: RedisLimiter,
    ) -> None:
        bounds = {"MAX_EVENTS": config.max_events, "MAX_EVENT_BYTES": config.max_event_bytes}
        self._admit = Script("admit", "log", "windows", constants=bounds)
        self._engine = engine
        self._keys = keys
        self._writing = writing
        self._limiter = limiter

    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        if self._engine.clustered or not windows:
            await self._writing.append(session_id, event)
            try:
                return await self._limiter.acquire(windows)
            except StoreError as problem:
                raise LimiterError(problem.message, retry_after=problem.retry_after) from problem
        [share] = self._limiter.plans.of(windows).shares
        keys = self._keys
        names = (keys.of(session_id, "s"), keys.of(session_id, "e"), *share.keys)

        def begin(token: str, place: int) -> Op:
            arguments: list[Argument] = [token, place, *event, *share.arguments]
            return self._engine.run(self._admit, names, arguments)

        refusing, time = await self._writing.admit(session_id, begin, event)
        return ADMITTED if not refusing else Admission(windows[refusing - 1], time / 1_000_000)
