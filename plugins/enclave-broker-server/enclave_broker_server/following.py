"""Streams over HTTP: of a session from any event on, and of one run in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from starlette.requests import HTTPConnection, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from enclave_broker_core.events import Event
from enclave_broker_core.session_handle import SessionHandle

from .answers import Answer, Header, HttpError
from .body import header, json_body
from .requests import Execution
from .resources import resource
from .service import Service, filter_of, require_short, wants_sse
from .streams import EventSource, Filter, StreamAnswer

LONGEST_SEQ = 18


class StreamRoutes:
    """``/sessions/{id}/stream`` and ``/sessions/{id}/execute``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        one = "/sessions/{session_id}"
        return [
            resource(f"{one}/stream", head=False, GET=self.stream),
            resource(f"{one}/execute", POST=self.execute),
        ]

    async def stream(self, request: Request) -> ASGIApp:
        chosen = filter_of(json_parameter(request, "filter"))
        session = await self._service.session(request)
        sse = wants_sse(request)
        from_seq, over = await begins_at(session, request)
        if over and sse:
            return Answer(None, 204)  # this is what keeps a browser from coming back
        return stream_of(
            self._service,
            request,
            session,
            from_seq=from_seq,
            filter=chosen,
            heartbeat=self._service.heartbeat(),
            sse=sse,
        )

    async def execute(self, request: Request) -> ASGIApp:
        given = await json_body(request.scope, request.receive, self._service.settings.limits)
        wanted = Execution.of(given)
        chosen = filter_of(wanted.filter)
        session = await self._service.session(request)
        last = await session.last_seq()
        run_id = await begun(session, wanted.code)
        return stream_of(
            self._service,
            request,
            session,
            from_seq=last + 1,
            filter=chosen,
            heartbeat=self._service.heartbeat(),
            until=ends(run_id),
            sse=wants_sse(request),
            # What a client needs that loses this stream before its first event.
            headers=[(b"x-run-id", run_id.encode()), (b"x-first-seq", b"%d" % (last + 1))],
        )


def stream_of(
    service: Service,
    request: Request,
    session: SessionHandle,
    *,
    heartbeat: float,
    from_seq: int = 1,
    filter: Filter | None = None,
    until: Callable[[Event], bool] | None = None,
    sse: bool = False,
    headers: Sequence[Header] = (),
) -> ASGIApp:
    """The answer that streams a session's events, in one of the places that there are."""
    source = EventSource(
        session,
        from_seq=from_seq,
        filter=filter,
        heartbeat=heartbeat,
        until=until,
        base=request.scope.get("root_path", ""),
    )
    answer = StreamAnswer(source, service.settings.streams, sse=sse, headers=headers)

    async def placed(scope: Scope, receive: Receive, send: Send) -> None:
        with service.streams.place(session.id):
            await answer(scope, receive, send)

    return placed


async def begun(session: SessionHandle, code: str) -> str:
    """Begin a run in between; its id. HttpError 413 for code that is too long."""
    require_short(code, session.limits)
    return await session.begin(code)


def ends(run_id: str) -> Callable[[Event], bool]:
    """Whether an event is the last one of a run."""

    def last(event: Event) -> bool:
        return event.type == "partial_result" and event.payload["path"] == ["run", run_id]

    return last


async def begins_at(session: SessionHandle, request: HTTPConnection) -> tuple[int, bool]:
    """The seq that a stream begins with, and whether its client has had all that there is.

    Then it gets the final event once more: without it a client would wait for ever.
    """
    wanted, last = _from_seq(request), await session.last_seq()
    over = wanted > last and session.has_ended
    return max(1, last if over else wanted), over


def _from_seq(request: HTTPConnection) -> int:
    """Where to begin: an absent or unreadable number is the beginning."""
    seen = (header(request.scope, b"last-event-id") or b"").decode("latin-1")
    if seen.isdecimal() and len(seen) <= LONGEST_SEQ:
        return int(seen) + 1
    for name in ("from", "fromSeq"):
        text = request.query_params.get(name, "")
        if text.isdecimal() and len(text) <= LONGEST_SEQ:
            return int(text)
    return 0


def json_parameter(request: HTTPConnection, name: str) -> Any:
    """A parameter of the URL that holds JSON; None without it. HttpError 400."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise HttpError(400, f"{name} is not JSON: {problem}", code="INVALID_FILTER") from None
