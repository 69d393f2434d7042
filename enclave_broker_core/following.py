"""Follows a session's events as they happen."""

from __future__ import annotations

from collections.abc import AsyncIterator

from . import events
from .contracts import SessionStore
from .events import Draft, Event


def _dropped(message: str) -> Draft:
    return events.error(message, "EVENTS_DROPPED", recoverable=True)


async def follow(
    store: SessionStore, session_id: str, from_seq: int = 1, wait: float = 15.0
) -> AsyncIterator[Event]:
    """The events from ``from_seq`` on, until the final one, as they happen.

    When the first of them are no longer kept, an ``error`` event that is not in the log
    says so. SessionNotFoundError when the session is unknown, or forgotten meanwhile.
    """
    wanted = max(1, from_seq)
    while True:
        batch = await store.read(session_id, wanted, wait=wait)
        if batch and batch[0].seq > wanted:
            gone = f"events {wanted} to {batch[0].seq - 1} are no longer kept"
            yield Event(session_id, batch[0].seq - 1, *_dropped(gone))
        for event in batch:
            yield event
            if event.type == "final":
                return
            wanted = event.seq + 1
        if not batch:
            record = await store.get(session_id)
            if record is None or record.state.ended:
                return
