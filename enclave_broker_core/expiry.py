"""Ends each session when its time, or its idle time, is over."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import anyio
from anyio.abc import TaskGroup

from .errors import BrokerError, SessionExpiredError
from .session import Session


class Expiry:
    """Of the sessions in ``open``, by session id; ``end`` is called for each that is due."""

    def __init__(
        self,
        open: Mapping[str, Session],
        end: Callable[[Session, BrokerError], Coroutine[Any, Any, None]],
    ) -> None:
        self._open = open
        self._end = end
        self._due: list[tuple[float, str]] = []
        self._sooner = anyio.Event()

    def add(self, session: Session) -> None:
        if len(self._due) > 64 + 2 * len(self._open):
            # Most sessions end before they are due, and would stay here until then.
            self._due = sorted(due for due in self._due if due[1] in self._open)
        heapq.heappush(self._due, (_due(session, time.monotonic())[0], session.id))
        if self._due[0][1] == session.id:
            self._sooner.set()

    async def serve(self, tasks: TaskGroup) -> None:
        """Watch the clock; what is ended ends in ``tasks``."""
        while True:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                _, session_id = heapq.heappop(self._due)
                session = self._open.get(session_id)
                if session is None:
                    continue
                due, reason = _due(session, now)
                if due <= now:
                    tasks.start_soon(self._end, session, SessionExpiredError(reason))
                else:
                    heapq.heappush(self._due, (due, session_id))
            self._sooner = anyio.Event()
            delay = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            with anyio.move_on_after(delay):
                await self._sooner.wait()


def _due(session: Session, now: float) -> tuple[float, str]:
    """When a session expires, on the monotonic clock, and what is said of it then."""
    lifetime, idle = session.limits.timeout, session.limits.idle_timeout
    end = session.started + lifetime
    if idle is not None:
        idle_end = (now if session.busy else session.last_active) + idle
        if idle_end < end:
            return idle_end, f"the session was idle for {idle:g} s"
    return end, f"the session's time of {lifetime:g} s is over"
