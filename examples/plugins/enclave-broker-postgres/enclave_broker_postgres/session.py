"""One session: its record, the kept part of its log and history, its claims."""

from __future__ import annotations

from collections import deque

import anyio
from enclave_broker_core.calls import CallRecord
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import SessionRecord, SessionState

from .claims import Claims
from .config import StoreConfig


class StoredSession:
    """What is known of one session; ``number`` grows with each that is created."""

    def __init__(
        self, record: SessionRecord, number: int, config: StoreConfig, claims: Claims
    ) -> None:
        # A copy on the way in and one on the way out: nobody shares what can be changed.
        self._record = record.model_copy(deep=True)
        self._events: deque[Draft] = deque(maxlen=config.max_events)
        self._last_seq = 0
        self._tool_calls = record.tool_calls
        self._changed = anyio.Event()
        self.calls: deque[CallRecord] = deque(maxlen=config.max_calls)
        self.number = number
        self.claims = claims

    @property
    def owner(self) -> tuple[str, str | None] | None:
        """The principal's id and tenant."""
        principal = self._record.principal
        return None if principal is None else (principal.id, principal.tenant)

    @property
    def expires_at(self) -> float:
        return self._record.expires_at

    @property
    def ended_at(self) -> float | None:
        return self._record.ended_at

    def record(self) -> SessionRecord:
        """The session as it stands."""
        now = {"tool_calls": self._tool_calls, "last_seq": self._last_seq}
        return self._record.model_copy(update=now).model_copy(deep=True)

    def append(self, event: Draft, call: CallRecord | None = None) -> int:
        self._events.append(event)
        self._last_seq += 1
        if call is not None:
            self.calls.append(call)
            self._tool_calls += 1
        self.wake()
        return self._last_seq

    def end(self, state: SessionState, at: float) -> None:
        self._record = self._record.model_copy(update={"state": state, "ended_at": at})
        self.wake()

    def read(self, from_seq: int, limit: int) -> list[Event]:
        """What is kept from ``from_seq`` on; the last event has the seq ``last_seq``."""
        left = self._last_seq - len(self._events)
        start = max(0, from_seq - 1 - left)
        return [
            Event(self._record.id, left + index + 1, *self._events[index])
            for index in range(start, min(len(self._events), start + limit))
        ]

    async def wait(self, seconds: float | None = None) -> None:
        """Wait for the next ``wake``, up to so long."""
        with anyio.move_on_after(seconds):
            await self._changed.wait()

    def wake(self) -> None:
        """Let all who wait look again."""
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
