"""Tool calls over HTTP: one by one, with their history, and those that the client answers."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from enclave_broker_core.mailbox import tool_call_message
from enclave_broker_core.session_handle import SessionHandle

from .answers import Answer, HttpError
from .body import header, json_body
from .idempotency import once, require_key
from .requests import ToolResult
from .resources import resource
from .service import Service


class ToolCallRoutes:
    """``/sessions/{id}/tool-calls`` and ``/sessions/{id}/tool-result``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        one = "/sessions/{session_id}"
        return [
            resource(f"{one}/tool-calls", GET=self.history, POST=self.call),
            resource(f"{one}/tool-result", POST=self.result),
        ]

    async def call(self, request: Request) -> ASGIApp:
        given = await self._body(request)
        key = header(request.scope, b"idempotency-key")
        session = await self._service.session(request)
        if key is None:
            return Answer(await called(session, given))
        window = self._service.settings.idempotency_window
        return await once(session, require_key(key), given, window, called)

    async def history(self, request: Request) -> ASGIApp:
        session = await self._service.session(request)
        calls = [record.to_json() for record in await session.history()]
        return Answer({"toolCalls": calls, "total": len(calls)})

    async def result(self, request: Request) -> ASGIApp:
        given = await self._body(request)
        answer = ToolResult.of(given)
        if ("result" in given) == ("error" in given):
            raise HttpError(400, "send either a result or an error")
        session = await self._service.session(request)
        failure = answer.failure()
        if "error" in given and failure is None:
            failure = "the client's tool failed"
        await session.answer(answer.call_id, result=answer.result, error=failure)
        return Answer({"success": True, "callId": answer.call_id})

    async def _body(self, request: Request) -> Any:
        return await json_body(request.scope, request.receive, self._service.settings.limits)


async def called(session: SessionHandle, given: Any) -> dict[str, Any]:
    """Make a call; what came of it, as clients see it. SessionError when the session is over."""
    if not isinstance(given, dict):
        raise HttpError(400, "the body must be a JSON object")
    call = tool_call_message(given)
    started = time.monotonic()
    made = await session.attempt(call)
    answer: dict[str, Any] = {"id": made.id, "name": call.name}
    if made.error is None:
        answer["data"] = made.data
    else:
        answer["error"] = made.error.to_wire()
    answer["ok"] = made.error is None
    answer["durationMs"] = round((time.monotonic() - started) * 1000)
    return answer
