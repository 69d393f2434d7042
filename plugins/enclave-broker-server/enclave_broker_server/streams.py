"""A session's events on their way to one client: NDJSON or server-sent events."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import anyio
from pydantic_core import from_json, to_json
from starlette.types import Message, Receive, Scope, Send

from enclave_broker_core import events as wire
from enclave_broker_core.errors import SessionCancelledError, SessionNotFoundError
from enclave_broker_core.events import Event
from enclave_broker_core.guard import Guarded, LateError, guard_class
from enclave_broker_core.models import RunStats
from enclave_broker_core.session_handle import SessionHandle

from .answers import Header, HttpError
from .settings import StreamSettings

_log = logging.getLogger(__name__)

NDJSON = b"application/x-ndjson"
SSE = b"text/event-stream"
# Events that are there together go out together, up to this many bytes at a time.
CHUNK = 64 * 1024
# A write that takes this many seconds is a slow reader's.
SLOW = 1.0
# For so many seconds nobody looks whether the client is still there: most streams end sooner,
# and a task that looks would be a good part of what they cost.
UNWATCHED = 0.1

Form = Callable[[Event], bytes]


class Filter(Protocol):
    """Chooses the events that a client wants to see."""

    def allows(self, event: Event) -> bool: ...


class Streams:
    """Counts the streams of each session, of which there may be so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[str, int] = {}

    @contextmanager
    def place(self, session_id: str) -> Iterator[None]:
        """A place for one; HttpError 429 when all are taken."""
        count = self._open.get(session_id, 0)
        if count >= self._most:
            raise HttpError(429, f"{count} streams of this session are open, the most there may be")
        self._open[session_id] = count + 1
        try:
            yield
        finally:
            left = self._open[session_id] - 1
            if left:
                self._open[session_id] = left
            else:
                del self._open[session_id]


class EventSource:
    """The events of a session for one client, with heartbeats, up to the final one.

    ``until`` is the event after which no more are wanted, and which is not filtered away.
    ``base`` is where the server is mounted. There is always a final event: when the session
    is forgotten meanwhile, one says so.
    """

    def __init__(
        self,
        session: SessionHandle,
        *,
        from_seq: int = 1,
        filter: Filter | None = None,
        heartbeat: float = 15.0,
        until: Callable[[Event], bool] | None = None,
        base: str = "",
    ) -> None:
        self.session = session
        self.seq = from_seq - 1
        self._following = session.events(from_seq)
        self._filter = filter
        self._heartbeat = heartbeat
        self._next_beat = time.monotonic() + heartbeat
        self._until = until
        self._base = base
        self.done = False

    async def next(self, most: float = math.inf) -> Sequence[Event]:
        """What is to be sent next; empty when ``most`` seconds bring nothing, when all was
        filtered out, or when ``done``."""
        wait = min(most, max(0.0, self._next_beat - time.monotonic()))
        try:
            batch = await self._following.batch(wait)
        except SessionNotFoundError:
            self.done = True
            return [self._gone()]
        found: list[Event] = []
        for event in batch:
            last = self._until is not None and self._until(event)
            if last or self._filter is None or self._filter.allows(event):
                found.append(self._mounted(event) if event.type == "session_init" else event)
            if last:
                self.done = True
                break
        if found:
            self.seq = found[-1].seq
        if self._following.at_end and not self.done:
            self.done = True
            if not batch:
                found.append(self._gone())
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + self._heartbeat
            if not self.done:
                seq = max(1, self.seq)
                found.append(wire.heartbeat(self.session.id, seq, time.time()))
        return found

    async def behind(self, seq: int) -> int:
        """How many events there are after this one."""
        return await self.session.last_seq() - seq

    def _mounted(self, event: Event) -> Event:
        if not self._base:
            return event
        payload = from_json(event.payload_json)
        for key in ("cancelUrl", "replayUrl"):
            if key in payload:
                payload[key] = self._base + payload[key]
        return event._replace(payload_json=to_json(payload))

    def _gone(self) -> Event:
        gone = SessionCancelledError("the session was deleted")
        return Event(self.session.id, self.seq + 1, *wire.final_error(gone, RunStats(0.0, 0, 0)))


class StreamAnswer:
    """Sends the events of a source; a dropped connection ends this, and nothing else."""

    def __init__(
        self,
        source: EventSource,
        settings: StreamSettings,
        *,
        sse: bool = False,
        headers: Sequence[Header] = (),
    ) -> None:
        self._source = source
        self._settings = settings
        self._form: Form = _sse if sse else _ndjson
        self._headers = [
            (b"content-type", SSE if sse else NDJSON),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            (b"x-session-id", source.session.id.encode()),
            *headers,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["enclave.session"] = self._source.session.id
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        if await self._send(send, UNWATCHED):
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch, receive, tasks.cancel_scope)
            await self._send(send)
            tasks.cancel_scope.cancel()

    async def _send(self, send: Send, seconds: float = math.inf) -> bool:
        """Send for so long; whether that was all, or the reader has been dropped."""
        source = self._source
        ends = time.monotonic() + seconds
        while not source.done:
            left = ends - time.monotonic()
            if left <= 0:
                return False
            for chunk, seq in _chunks(await source.next(left), self._form):
                message = {"type": "http.response.body", "body": chunk, "more_body": True}
                fault = await written(send, message, source, seq, self._settings)
                if fault is not None:
                    _log.warning("a reader of session %s %s: dropped", source.session.id, fault)
                    return True
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True


class FinalAnswer:
    """A stream of one final event that says why there is no session."""

    def __init__(self, session_id: str, error: HttpError, code: str, *, sse: bool = False) -> None:
        failed = {"message": error.message, "code": code}
        payload: dict[str, object] = {"ok": False, "error": failed}
        if error.details:
            payload["errors"] = [{**failed, "details": error.details}]
        form = _sse if sse else _ndjson
        self._body = form(Event(session_id, 1, "final", to_json(payload)))
        self._headers = [
            (b"content-type", SSE if sse else NDJSON),
            (b"content-length", b"%d" % len(self._body)),
            (b"cache-control", b"no-cache"),
            (b"x-session-id", session_id.encode()),
            (b"x-refused", b"%d" % error.status),
            *(header for header in error.answer().headers if header[0] == b"retry-after"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


async def written(
    send: Send, message: Message, source: EventSource, seq: int, settings: StreamSettings
) -> str | None:
    """Send a message to who has read a source up to ``seq``; None, or why not to go on."""
    started = time.monotonic()
    if not await _taken(send, message, settings.stall_timeout):
        return "stalled"
    slow = time.monotonic() - started > SLOW
    return "is too slow" if slow and await source.behind(seq) > settings.max_backlog else None


async def _taken(send: Send, message: Message, seconds: float) -> bool:
    """Send a message; False when nobody takes it for so long."""

    async def sending() -> None:
        await send(message)

    try:
        await guard_class()(sending(), Guarded(), seconds)
    except LateError:
        return False
    return True


async def _watch(receive: Receive, streaming: anyio.CancelScope) -> None:
    """Stop when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    streaming.cancel()


def _chunks(events: Sequence[Event], form: Form) -> Iterator[tuple[bytes, int]]:
    """The events as text, and the seq of the last one in it."""
    waiting: list[bytes] = []
    size = 0
    for event in events:
        text = form(event)
        waiting.append(text)
        size += len(text)
        if size >= CHUNK:
            yield b"".join(waiting), event.seq
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting), events[-1].seq


def _ndjson(event: Event) -> bytes:
    return event.to_json() + b"\n"


def _sse(event: Event) -> bytes:
    return b"id: %d\ndata: %b\n\n" % (event.seq, event.to_json())
