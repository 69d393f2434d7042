"""Final events that could not be written yet, because the store was out of reach."""

from __future__ import annotations

import logging
from collections import deque

import anyio

from .errors import StoreError
from .events import Draft
from .models import SessionState
from .session_store import SessionStore

_log = logging.getLogger(__name__)

# How long, in seconds, the first of them waits between two attempts.
PATIENCE = 1.0


class UnsettledEnds:
    """Keeps them until the store has them: no client is to wait for a final event for ever."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._waiting: deque[tuple[str, Draft, SessionState, float]] = deque()
        self._some = anyio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, session_id: str, final: Draft, state: SessionState, at: float) -> None:
        """Write the end of this session when that is possible again."""
        self._waiting.append((session_id, final, state, at))
        self._some.set()

    async def serve(self) -> None:
        """Write what waits, each in its turn; a task of the broker's."""
        while True:
            await self._some.wait()
            again = []
            for one in list(self._waiting):
                # One that can't be written holds up no other: a part of the store may be gone.
                if not await self._settled(*one):
                    again.append(one)
                self._waiting.popleft()
            self._waiting.extend(again)
            if not self._waiting:
                self._some = anyio.Event()
            elif again:
                await anyio.sleep(PATIENCE)

    async def _settled(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        try:
            await self._store.end(session_id, final, state, at)
        except StoreError:
            return False
        except Exception as problem:
            # It has been forgotten, or another process has it and ends it.
            _log.warning("the end of session %s was not written: %s", session_id, problem)
        return True
