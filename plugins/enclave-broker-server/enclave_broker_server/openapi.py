"""The API's own description: every path with what it takes and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from .answers import Answer
from .openapi_schemas import SESSION_ID, ref, schemas
from .resources import resource

JSON = "application/json"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"

Part = Mapping[str, Any]


class OpenApiRoutes:
    """``/openapi.json``; ``secured`` says whether callers have to show who they are."""

    def __init__(self, version: str, *, secured: bool) -> None:
        self._document = document(version, secured=secured)

    def routes(self) -> list[Route]:
        return [resource("/openapi.json", GET=self.show)]

    async def show(self, request: Request) -> ASGIApp:
        base = request.scope.get("root_path", "")
        return Answer({**self._document, "servers": [{"url": base or "/"}]})


def document(version: str, *, secured: bool) -> dict[str, Any]:
    """The description as an OpenAPI 3.1 document, without its servers."""
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Enclave Broker",
            "version": version,
            "description": "Sessions in which agents' code and calls reach tools.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {
            "schemas": schemas(),
            "responses": _responses(),
            "parameters": {"sessionId": _parameter("session_id", "path", SESSION_ID)},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "tags": [
            {"name": "sessions", "description": "Created, followed, cancelled and deleted."},
            {"name": "calls", "description": "Tool calls in a session."},
            {"name": "catalog", "description": "The tools that the caller may use."},
            {"name": "service", "description": "The server itself."},
        ],
    }
    if secured:
        described["security"] = [{"bearer": []}]
    return described


def _paths() -> dict[str, Any]:
    one = "/sessions/{session_id}"
    session = [{"$ref": "#/components/parameters/sessionId"}]
    events = _answer("The session's events up to the final one.", events=True)
    return {
        "/sessions": {
            "post": _operation(
                "createSession",
                "sessions",
                "Create a session; with code, run it and stream its events.",
                {
                    "200": {**events, "headers": _stream_headers()},
                    "201": _answer("The session, waiting for calls.", "Session"),
                },
                errors=(409, 413, 415, 429, 503),
                body="NewSession",
            ),
            "get": _operation(
                "listSessions",
                "sessions",
                "The sessions that the caller may see.",
                {"200": _answer("The open ones.", "Sessions")},
                parameters=[
                    _parameter("ended", "query", {"type": "boolean"}, "Those that ended as well."),
                ],
            ),
        },
        one: {
            "parameters": session,
            "get": _operation(
                "showSession",
                "sessions",
                "One session as it stands.",
                {"200": _answer("The session.", "Session")},
                errors=(404,),
            ),
            "delete": _operation(
                "deleteSession",
                "sessions",
                "Cancel a session and forget all of it.",
                {"200": _answer("It is gone.", "Success")},
                errors=(404,),
            ),
        },
        f"{one}/stream": {
            "parameters": session,
            "get": _operation(
                "streamEvents",
                "sessions",
                "Replay a session's events and follow them to the final one.",
                {"200": events, "204": {"description": "There are none after Last-Event-ID."}},
                errors=(404, 429),
                parameters=[
                    _parameter("from", "query", {"type": "string"}, "The first seq wanted."),
                    _parameter("fromSeq", "query", {"type": "string"}, "The same."),
                    _parameter("filter", "query", {"type": "string"}, "An EventFilter as JSON."),
                    _parameter("ticket", "query", {"type": "string"}, "Instead of credentials."),
                    _parameter("Last-Event-ID", "header", {"type": "string"}, "The last seq had."),
                ],
            ),
        },
        f"{one}/cancel": {
            "parameters": session,
            "post": _operation(
                "cancelSession",
                "sessions",
                "Stop all of a session's work and end it; more than once is once.",
                {"200": _answer("It has ended.", "Success")},
                errors=(404, 413),
                body="Cancellation",
                optional=True,
            ),
        },
        f"{one}/ticket": {
            "parameters": session,
            "post": _operation(
                "makeTicket",
                "sessions",
                "A ticket of one use for the stream or the socket of this session.",
                {"201": _answer("The ticket.", "Ticket")},
                errors=(404,),
            ),
        },
        f"{one}/execute": {
            "parameters": session,
            "post": _operation(
                "execute",
                "sessions",
                "Run code in an interactive session and stream the run's events.",
                {"200": _answer("The events, up to the run's partial_result.", events=True)},
                errors=(404, 409, 413, 415, 429),
                body="Execution",
            ),
        },
        f"{one}/tool-calls": {
            "parameters": session,
            "post": _operation(
                "callTool",
                "calls",
                "Make one tool call.",
                {"200": _answer("What came of it.", "ToolAnswer")},
                errors=(404, 409, 413, 415),
                body="ToolCall",
                parameters=[
                    _parameter(
                        "Idempotency-Key",
                        "header",
                        {"type": "string", "minLength": 1, "maxLength": 255},
                        "The same key and body get the first answer; the tool runs once.",
                    ),
                ],
            ),
            "get": _operation(
                "listCalls",
                "calls",
                "The finished calls of a session.",
                {"200": _answer("The calls, oldest first.", "ToolCalls")},
                errors=(404,),
            ),
        },
        f"{one}/tool-result": {
            "parameters": session,
            "post": _operation(
                "answerCall",
                "calls",
                "Answer a call of a tool that the client itself runs.",
                {"200": _answer("It was taken.", "Answered")},
                errors=(404, 409, 413, 415),
                body="ToolResult",
            ),
        },
        f"{one}/ws": {
            "parameters": session,
            "get": _operation(
                "openSocket",
                "sessions",
                "Calls and events both ways on one WebSocket.",
                {"101": {"description": "The connection is a WebSocket now."}},
                errors=(404, 429),
            ),
        },
        "/tools": {
            "get": _operation(
                "listTools",
                "catalog",
                "The tools that the caller may use.",
                {"200": _answer("The tools.", "Tools")},
            ),
        },
        "/tools/{name}": {
            "parameters": [_parameter("name", "path", {"type": "string", "minLength": 1})],
            "get": _operation(
                "showTool",
                "catalog",
                "One tool.",
                {"200": _answer("The tool.", "Tool")},
                errors=(404,),
            ),
        },
        "/code/actions": {
            "get": _operation(
                "listActions",
                "catalog",
                "The catalog in EnclaveJS's form.",
                {"200": _answer("The actions.", "Actions")},
            ),
        },
        "/health": {
            "get": _operation(
                "health", "service", "Alive.", {"200": _answer("It is.", "Status")}, public=True
            ),
        },
        "/ready": {
            "get": _operation(
                "ready",
                "service",
                "Ready to take work: the store is in reach, and the server is not stopping.",
                {"200": _answer("It is.", "Status")},
                errors=(503,),
                public=True,
            ),
        },
        "/openapi.json": {
            "get": _operation(
                "describe",
                "service",
                "This description.",
                {"200": {"description": "It.", "content": {JSON: {"schema": {"type": "object"}}}}},
                public=True,
            ),
        },
    }


def _operation(
    name: str,
    tag: str,
    summary: str,
    answers: Part,
    *,
    errors: tuple[int, ...] = (),
    body: str | None = None,
    optional: bool = False,
    parameters: list[Part] | None = None,
    public: bool = False,
) -> dict[str, Any]:
    refused = {421, *errors} if public else {400, 401, 403, 421, *errors}
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "responses": {
            **answers,
            **{
                str(status): {"$ref": f"#/components/responses/{status}"}
                for status in sorted(refused)
            },
        },
    }
    if body is not None:
        operation["requestBody"] = {
            "required": not optional,
            "content": {JSON: {"schema": ref(body)}},
        }
    if parameters:
        operation["parameters"] = parameters
    if public:
        operation["security"] = []
    return operation


def _answer(said: str, schema: str | None = None, *, events: bool = False) -> dict[str, Any]:
    if events:
        content: Part = {
            # Each line is one event; a schema can describe the text alone.
            NDJSON: {"schema": {"type": "string", "description": "An Event a line."}},
            SSE: {"schema": {"type": "string", "description": "An Event a message."}},
        }
    else:
        content = {JSON: {"schema": ref(schema or "Error")}}
    return {"description": said, "content": content}


def _stream_headers() -> dict[str, Any]:
    return {
        "X-Session-ID": {"schema": SESSION_ID, "description": "The session's id."},
        "X-Refused": {
            "schema": {"type": "string", "pattern": "^[0-9]{3}$"},
            "description": "With a refusal: the status that it would have had.",
        },
    }


def _parameter(name: str, place: str, schema: Part, about: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "in": place, "schema": schema}
    if place == "path":
        made["required"] = True
    if about:
        made["description"] = about
    return made


def _responses() -> dict[str, Any]:
    said = {
        400: "The request is wrong; the message says where.",
        401: "The caller is not known.",
        403: "The caller, or the page, may not do this.",
        404: "There is none that the caller may see.",
        409: "It stands against what is there.",
        413: "It is larger than allowed.",
        415: "It is not sent as JSON.",
        421: "The request is for a host that this server is not known as.",
        429: "Too many; Retry-After says when to come back.",
        503: "Not now; Retry-After says when to come back.",
    }
    return {
        str(status): {"description": text, "content": {JSON: {"schema": ref("Error")}}}
        for status, text in said.items()
    }
