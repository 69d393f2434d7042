"""Sessions, events and calls to test with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import anyio
from pydantic_core import to_json

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.events import Draft, Event
from enclave_broker_core.models import SessionRecord, SessionState
from enclave_broker_core.session_store import SessionStore

T = TypeVar("T")

CREATED_AT = 1_700_000_000.0
ENDED_AT = CREATED_AT + 100


def record(id: str = "s_1", **fields: Any) -> SessionRecord:
    """A session that runs; ``fields`` are those of the record that matter."""
    given: dict[str, Any] = {
        "state": SessionState.RUNNING,
        "created_at": CREATED_AT,
        "expires_at": CREATED_AT + 3600,
    }
    return SessionRecord(id=id, **(given | fields))


def ids(records: Sequence[SessionRecord]) -> list[str]:
    return [record.id for record in records]


def event(seq: int, session_id: str = "s_1", type: str = "stdout", **payload: Any) -> Event:
    """An event as it is read back; its payload says which it is unless another is given."""
    return Event(session_id, seq, type, to_json(payload or {"chunk": f"{session_id} {seq}"}))


def events(first: int, last: int, session_id: str = "s_1") -> list[Event]:
    """The events with the seqs from ``first`` to ``last``."""
    return [event(seq, session_id) for seq in range(first, last + 1)]


def final(seq: int, session_id: str = "s_1", **payload: Any) -> Event:
    return event(seq, session_id, "final", **(payload or {"ok": True}))


def draft(event: Event) -> Draft:
    """An event as it is given to a store."""
    return event.type, event.payload_json


async def write(store: SessionStore, *given: Event, call: CallRecord | None = None) -> None:
    """Append events one after the other, ``call`` with the last; each gets the seq it has."""
    for item in given:
        with_it = call if item is given[-1] else None
        seq = await store.append(item.session_id, draft(item), with_it)
        assert seq == item.seq


async def end(
    store: SessionStore,
    final: Event,
    state: SessionState = SessionState.COMPLETED,
    at: float = ENDED_AT,
) -> None:
    """End a session that runs with its final event."""
    ended = await store.end(final.session_id, draft(final), state, at)
    assert ended is True


def call(id: str = "c_1", **fields: Any) -> CallRecord:
    """A call that ended well."""
    given: dict[str, Any] = {
        "tool": "users:get",
        "arguments_json": b'{"id":1}',
        "outcome": "ok",
        "error_code": None,
        "started_at": CREATED_AT + 1,
        "ended_at": CREATED_AT + 2,
    }
    return CallRecord(call_id=id, **(given | fields))


async def at_once(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | Exception]:
    """Start all calls together; what each returned or raised, in the order given."""
    results: dict[int, T | Exception] = {}

    async def run(number: int, call: Callable[[], Awaitable[T]]) -> None:
        try:
            results[number] = await call()
        except Exception as problem:
            results[number] = problem

    async with anyio.create_task_group() as tasks:
        for number, call in enumerate(calls):
            tasks.start_soon(run, number, call)
    return [results[number] for number in range(len(calls))]
