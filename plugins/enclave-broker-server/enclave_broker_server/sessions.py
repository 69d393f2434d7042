"""Sessions over HTTP: created, looked at, listed, cancelled and deleted."""

from __future__ import annotations

import math
import time
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from enclave_broker_core.errors import BrokerError, SessionNotFoundError
from enclave_broker_core.models import SESSION_ID, SessionRecord
from enclave_broker_core.session_handle import SessionHandle

from .answers import Answer, HttpError
from .body import any_json, json_body
from .following import stream_of
from .requests import Cancellation, NewSession
from .resources import resource
from .service import (
    Service,
    accepted,
    caller_of,
    filter_of,
    require_short,
    wants_sse,
    wants_stream,
)
from .streams import NDJSON, FinalAnswer

PAGE = 1000


class SessionRoutes:
    """``/sessions`` and ``/sessions/{id}``."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._broker = service.broker

    def routes(self) -> list[Route]:
        one = "/sessions/{session_id}"
        return [
            resource("/sessions", GET=self.list, POST=self.create),
            resource(one, GET=self.show, DELETE=self.delete),
            resource(f"{one}/cancel", POST=self.cancel),
            resource(f"{one}/ticket", POST=self.ticket),
        ]

    async def create(self, request: Request) -> ASGIApp:
        given = await json_body(request.scope, request.receive, self._service.settings.limits)
        if not isinstance(given, dict):
            raise HttpError(400, "the body must be a JSON object")
        session_id = given.get("sessionId")
        if session_id is None:
            session_id = f"s_{uuid4()}"
        elif not isinstance(session_id, str) or not SESSION_ID.fullmatch(session_id):
            raise HttpError(
                400, "sessionId must be 's_' and 1 to 64 of letters, digits, '_' and '-'"
            )
        request.scope["enclave.session"] = session_id
        runs = given.get("code") is not None
        # Who sent no code is answered with JSON, so only they who ask for events get one.
        as_event = wants_stream(request) if runs else NDJSON in accepted(request)
        sse = wants_sse(request)
        try:
            return await self._created(request, given, session_id)
        except BrokerError as error:
            if as_event:
                return FinalAnswer(session_id, HttpError.of(error), error.code, sse=sse)
            raise HttpError.of(error) from None
        except HttpError as error:
            if as_event:
                return FinalAnswer(session_id, error, error.code, sse=sse)
            raise

    async def _created(self, request: Request, given: Any, session_id: str) -> ASGIApp:
        self._service.draining.require_open()
        wanted = NewSession.of(given)
        chosen = filter_of(wanted.filter)
        limits = self._broker.limits
        code = wanted.code
        if code is not None:
            require_short(code, limits)
        session = await self._broker.create_session(
            session_id=session_id,
            principal=caller_of(request).principal,
            metadata=wanted.metadata,
            allowed_tools=wanted.allowed_tools,
            runtime=wanted.runtime,
            durable=wanted.durable,
            caller_headers=self._service.passed_on(request),
            client_tools=[declared.tool() for declared in wanted.client_tools],
            **wanted.config.limits(limits),
        )
        if code is None:
            return Answer(info(session.info()), 201)
        await session.begin(code, last=True)
        if not wants_stream(request):
            return Answer(info(session.info()), 201)
        heartbeat = wanted.config.heartbeat(self._service.heartbeat())
        return stream_of(
            self._service,
            request,
            session,
            filter=chosen,
            heartbeat=heartbeat,
            sse=wants_sse(request),
        )

    async def list(self, request: Request) -> ASGIApp:
        ended = request.query_params.get("ended", "false")
        if ended not in ("true", "false"):
            raise HttpError(400, "ended is true or false")
        found: list[SessionRecord] = []
        after: str | None = None
        while True:
            try:
                page = await self._broker.list_sessions(
                    principal=caller_of(request).principal,
                    include_ended=ended == "true",
                    limit=PAGE,
                    after=after,
                )
            except SessionNotFoundError:
                break  # the last one of the page before has been forgotten meanwhile
            found += page
            if len(page) < PAGE:
                break
            after = page[-1].id
        return Answer({"sessions": [info(record) for record in found], "total": len(found)})

    async def show(self, request: Request) -> ASGIApp:
        session = await self._session(request)
        return Answer(info(session.info()))

    async def delete(self, request: Request) -> ASGIApp:
        session = await self._session(request)
        if not await self._broker.destroy_session(session.id):
            raise HttpError(404, f"there is no session {session.id!r}")
        return Answer({"success": True, "sessionId": session.id})

    async def cancel(self, request: Request) -> ASGIApp:
        # The stock client sends it as text.
        given = await any_json(request.scope, request.receive, self._service.settings.limits)
        reason = Cancellation.of({} if given is None else given).reason
        session = await self._session(request)
        await session.cancel(reason or "cancelled by the client")
        return Answer({"success": True, "sessionId": session.id})

    async def ticket(self, request: Request) -> ASGIApp:
        session = await self._session(request)
        token, expires_at = self._service.tickets.issue(session.id, caller_of(request).name)
        return Answer({"ticket": token, "expiresAt": math.floor(expires_at * 1000)}, 201)

    async def _session(self, request: Request) -> SessionHandle:
        return await self._service.session(request)


def info(record: SessionRecord) -> dict[str, Any]:
    """A session as clients see it; times in milliseconds since the epoch."""
    return {
        "sessionId": record.id,
        "state": record.state.value,
        "createdAt": math.floor(record.created_at * 1000),
        "expiresAt": math.floor(record.expires_at * 1000),
        "stats": {"duration": _milliseconds(record), "toolCallCount": record.tool_calls},
    }


def _milliseconds(record: SessionRecord) -> int:
    end = time.time() if record.ended_at is None else record.ended_at
    return max(0, round((end - record.created_at) * 1000))
