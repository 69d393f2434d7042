"""What the handlers of all requests share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection, Request

from enclave_broker_core.broker import Broker
from enclave_broker_core.models import SESSION_ID, Principal, SessionLimits
from enclave_broker_core.session_handle import SessionHandle

from .answers import HttpError
from .body import header
from .draining import Draining
from .filters import EventFilter, parse_filter
from .identity import Caller
from .settings import ServerSettings
from .streams import NDJSON, SSE, Streams
from .tickets import Tickets


@dataclass(frozen=True)
class Service:
    """A broker, and how it is served."""

    broker: Broker
    settings: ServerSettings
    streams: Streams
    tickets: Tickets
    draining: Draining

    async def session(self, request: HTTPConnection) -> SessionHandle:
        """The session that the path names, when the caller may touch it."""
        session_id: str = request.path_params["session_id"]
        if not SESSION_ID.fullmatch(session_id):
            raise HttpError(404, f"there is no session {session_id[:80]!r}")
        request.scope["enclave.session"] = session_id
        caller = caller_of(request)
        session = await caller.session(self.broker, session_id)
        headers = self.passed_on(request)
        # Whoever may look after others' sessions lends them nothing.
        if headers and _same(caller.principal, session.principal):
            session.see_caller(headers)
        return session

    def passed_on(self, request: HTTPConnection) -> Mapping[str, str]:
        """The headers of a request that tools may pass on."""
        names = self.settings.pass_headers
        return {name: value for name in names if (value := request.headers.get(name)) is not None}

    def heartbeat(self) -> float:
        return self.settings.streams.heartbeat


def _same(one: Principal | None, other: Principal | None) -> bool:
    return (
        one is not None and other is not None and (one.id, one.tenant) == (other.id, other.tenant)
    )


def caller_of(request: HTTPConnection) -> Caller:
    caller: Caller = request.scope["enclave.caller"]
    return caller


def accepted(request: Request) -> frozenset[bytes]:
    """The media types that the request names in ``Accept``; ``*/*`` when it has none."""
    sent = header(request.scope, b"accept") or b"*/*"
    return frozenset(part.partition(b";")[0].strip().lower() for part in sent.split(b","))


def wants_sse(request: Request) -> bool:
    kinds = accepted(request)
    return SSE in kinds and NDJSON not in kinds


def wants_stream(request: Request) -> bool:
    """Whether events, or a refusal as an event, are an answer that the request accepts."""
    return bool(accepted(request) & {NDJSON, SSE, b"*/*", b"application/*"})


def require_short(code: str, limits: SessionLimits) -> None:
    """HttpError 413 for code that is longer than a session may run."""
    if len(code.encode("utf-8", "replace")) > limits.max_code_bytes:
        raise HttpError(413, f"the code is longer than {limits.max_code_bytes} bytes")


def filter_of(given: Any) -> EventFilter | None:
    return None if given is None else parse_filter(given)
