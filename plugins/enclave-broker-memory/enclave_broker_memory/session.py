"""One session in memory: its record, the kept part of its log and history, its readers."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import anyio

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import SessionRecord, SessionState

from .claims import SessionClaims


class StoredSession:
    """What the store knows of one session; the store itself does the writing.

    ``number`` grows with each session that is created; ``ended_at`` is set when it ends.
    ``last_seq`` goes on when old events leave; ``event_bytes`` and ``call_bytes`` are the
    sizes of what is kept. ``changed`` is there only while somebody waits, ``claims`` only
    once a key was claimed.
    """

    __slots__ = (
        "_attributes",
        "_metadata",
        "_record",
        "_waiting",
        "call_bytes",
        "calls",
        "changed",
        "claims",
        "ended_at",
        "event_bytes",
        "events",
        "expires_at",
        "id",
        "last_seq",
        "number",
        "principal_id",
        "state",
        "tenant",
        "tool_calls",
    )

    def __init__(self, record: SessionRecord, number: int) -> None:
        # It can't be changed but for its mappings, so only these are copied at once.
        self._record = record
        self._metadata = _copied(record.metadata)
        self._attributes = {} if record.principal is None else _copied(record.principal.attributes)
        self.changed: anyio.Event | None = None
        self._waiting = 0
        self.id = record.id
        self.number = number
        self.principal_id = record.principal_id
        self.tenant = None if record.principal is None else record.principal.tenant
        self.expires_at = record.expires_at
        self.state = record.state
        self.ended_at: float | None = None
        self.tool_calls = record.tool_calls
        self.events: deque[Draft] = deque()
        self.event_bytes = 0
        self.last_seq = 0
        self.calls: deque[CallRecord] = deque()
        self.call_bytes = 0
        self.claims: SessionClaims | None = None

    def record(self) -> SessionRecord:
        """The session as it stands, in an object of the caller's own."""
        principal = self._record.principal
        if principal is not None:
            principal = principal.model_copy(update={"attributes": _copied(self._attributes)})
        return self._record.model_copy(
            update={
                "state": self.state,
                "ended_at": self.ended_at,
                "tool_calls": self.tool_calls,
                "last_seq": self.last_seq,
                "metadata": _copied(self._metadata),
                "principal": principal,
                "client_tools": tuple(
                    tool.model_copy(deep=True) for tool in self._record.client_tools
                ),
            }
        )

    def end(self, state: SessionState, at: float) -> None:
        self.state = state
        self.ended_at = at

    def trim_events(self, count: int, size: int) -> None:
        """Let the oldest events go: an eighth of those allowed at a time, so that a full log
        is not trimmed for every event. The newest stays, however large it is."""
        events = self.events
        if len(events) > count:
            for _ in range(len(events) - count + count // 8):
                self.event_bytes -= len(events.popleft()[1])
        while self.event_bytes > size and len(events) > 1:
            self.event_bytes -= len(events.popleft()[1])

    def trim_calls(self, count: int, size: int) -> None:
        """Let the oldest calls go, in the same way."""
        calls = self.calls
        if len(calls) > count:
            for _ in range(len(calls) - count + count // 8):
                self.call_bytes -= len(calls.popleft().arguments_json)
        while self.call_bytes > size and len(calls) > 1:
            self.call_bytes -= len(calls.popleft().arguments_json)

    def read(self, from_seq: int, limit: int) -> list[Event]:
        """What is kept from ``from_seq`` on."""
        events = self.events
        # The last kept event has the seq `last_seq`, and there are no gaps before it.
        dropped = self.last_seq - len(events)
        start = max(0, from_seq - 1 - dropped)
        return [
            Event(self.id, dropped + index + 1, *events[index])
            for index in range(start, min(len(events), start + limit))
        ]

    async def wait(self) -> None:
        """Wait for the next ``wake``."""
        if self.changed is None:
            self.changed = anyio.Event()
        self._waiting += 1
        try:
            await self.changed.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.changed = None

    def wake(self) -> None:
        """Let all who wait look again."""
        changed, self.changed = self.changed, None
        if changed is not None:
            changed.set()


def _copied(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing which can be changed."""
    return deepcopy(dict(mapping)) if mapping else {}
