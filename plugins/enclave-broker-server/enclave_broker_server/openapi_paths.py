"""The paths of the API's description, each with what it takes and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .openapi_answers import (
    answer,
    empty,
    events,
    refusals,
    refused_headers,
    replayed_header,
    run_headers,
)
from .openapi_forms import SESSION_ID, ref

JSON = "application/json"
ONE = "/sessions/{session_id}"

Part = Mapping[str, Any]

_FROM = "The first seq wanted. What is no number is the beginning."

# What can be done in a session, by its id.
_NEXT = (
    "showSession",
    "deleteSession",
    "streamEvents",
    "cancelSession",
    "makeTicket",
    "execute",
    "callTool",
    "listCalls",
    "answerCall",
)


def paths(*, secured: bool) -> dict[str, Any]:
    """All of them. ``secured`` says whether callers have to show who they are."""
    made = {**_sessions(), **_in_a_session(), **_calls(), **_catalog(), **_service()}
    for path, item in made.items():
        if path.startswith(ONE):
            item["parameters"] = [_parameter("session_id", "path", SESSION_ID, "Its id.")]
        for operation in (item[method] for method in ("get", "post", "delete") if method in item):
            wanted = operation.pop("refused")
            if path.endswith(("/stream", "/ws")):
                operation["security"] = [{"bearer": []} if secured else {}, {"ticket": []}]
            elif secured and "security" not in operation:
                wanted = (*wanted, 401)
            operation["responses"] |= refusals(*wanted)
    return made


def _sessions() -> dict[str, Any]:
    return {
        "/sessions": {
            "post": _operation(
                "createSession",
                "sessions",
                "Create a session; with code, run it and stream its events.",
                {
                    "200": events(
                        "The events of the session, up to the final one. Where events are"
                        " accepted, a refusal that is about the session is one final event too.",
                        headers=refused_headers(),
                        links=_links("$response.header.X-Session-ID"),
                    ),
                    "201": answer(
                        "The session: it waits for calls, or runs its code if no events are"
                        " accepted.",
                        "Session",
                        links=_links("$response.body#/sessionId"),
                    ),
                },
                refused=(409, 413, 415),
                body="NewSession",
            ),
            "get": _operation(
                "listSessions",
                "sessions",
                "The sessions that the caller may see.",
                {"200": answer("The sessions that have not ended, or all.", "Sessions")},
                parameters=[
                    _parameter("ended", "query", {"type": "boolean"}, "Those that ended as well."),
                ],
            ),
        },
        ONE: {
            "get": _operation(
                "showSession",
                "sessions",
                "One session as it stands.",
                {"200": answer("The session.", "Session")},
                refused=(404,),
            ),
            "delete": _operation(
                "deleteSession",
                "sessions",
                "Cancel a session and forget all of it.",
                {"200": answer("It is gone.", "Success")},
                refused=(404,),
            ),
        },
    }


def _in_a_session() -> dict[str, Any]:
    where = [
        _parameter("from", "query", {"type": "string"}, _FROM, example="1"),
        _parameter("fromSeq", "query", {"type": "string"}, "The same."),
        {
            "name": "filter",
            "in": "query",
            "description": "Which events are wanted; all of them without it.",
            "content": {JSON: {"schema": {"anyOf": [ref("EventFilter"), {"type": "null"}]}}},
        },
        _parameter(
            "Last-Event-ID", "header", {"type": "string"}, "The last seq had; it goes before from."
        ),
    ]
    return {
        f"{ONE}/stream": {
            "get": _operation(
                "streamEvents",
                "sessions",
                "Replay a session's events and follow them to the final one.",
                {
                    "200": events("The events."),
                    "204": empty("Server-sent events only: there are none after Last-Event-ID."),
                },
                refused=(401, 404),
                parameters=where,
            ),
        },
        f"{ONE}/ws": {
            "get": _operation(
                "openSocket",
                "sessions",
                "Calls and events both ways on one WebSocket.",
                {"101": {"description": "The connection is a WebSocket now."}},
                refused=(401, 404, 426),
                parameters=where,
            ),
        },
        f"{ONE}/cancel": {
            "post": _operation(
                "cancelSession",
                "sessions",
                "Stop all of a session's work and end it; more than once is once.",
                {"200": answer("It has ended.", "Success")},
                refused=(404, 413),
                body="Cancellation",
                optional=True,
            ),
        },
        f"{ONE}/ticket": {
            "post": _operation(
                "makeTicket",
                "sessions",
                "A ticket of one use for the stream or the socket of this session.",
                {"201": answer("The ticket; it is good for half a minute.", "Ticket")},
                refused=(404,),
            ),
        },
        f"{ONE}/execute": {
            "post": _operation(
                "execute",
                "sessions",
                "Run code in an interactive session and stream the run's events.",
                {
                    "200": events(
                        "The events, up to the partial_result of the run.", headers=run_headers()
                    )
                },
                refused=(404, 409, 413, 415),
                body="Execution",
            ),
        },
    }


def _calls() -> dict[str, Any]:
    return {
        f"{ONE}/tool-calls": {
            "post": _operation(
                "callTool",
                "calls",
                "Make one tool call. A tool that fails, or may not be used, is an answer too.",
                {"200": answer("What came of it.", "ToolAnswer", headers=replayed_header())},
                refused=(404, 409, 413, 415),
                body="ToolCall",
                parameters=[
                    _parameter(
                        "Idempotency-Key",
                        "header",
                        {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
                        "The same key and body get the first answer; the tool runs once.",
                    ),
                ],
            ),
            "get": _operation(
                "listCalls",
                "calls",
                "The finished calls of a session.",
                {"200": answer("The calls, oldest first.", "ToolCalls")},
                refused=(404,),
            ),
        },
        f"{ONE}/tool-result": {
            "post": _operation(
                "answerCall",
                "calls",
                "Answer a call of a tool that the client itself runs.",
                {"200": answer("It was taken.", "Answered")},
                refused=(404, 409, 413, 415),
                body="ToolResult",
            ),
        },
    }


def _catalog() -> dict[str, Any]:
    name = {"type": "string", "minLength": 1}
    return {
        "/tools": {
            "get": _operation(
                "listTools",
                "catalog",
                "The tools that the caller may use.",
                {"200": answer("The tools.", "Tools")},
            ),
        },
        "/tools/{name}": {
            "parameters": [_parameter("name", "path", name, "Its name.", example="users:get")],
            "get": _operation(
                "showTool",
                "catalog",
                "One tool.",
                {"200": answer("The tool.", "Tool")},
                refused=(404,),
            ),
        },
        "/code/actions": {
            "get": _operation(
                "listActions",
                "catalog",
                "The catalog in EnclaveJS's form.",
                {"200": answer("The actions.", "Actions")},
            ),
        },
    }


def _service() -> dict[str, Any]:
    document = answer("It.", "Error")
    document["content"] = {JSON: {"schema": {"type": "object", "required": ["openapi"]}}}
    return {
        "/health": {
            "get": _operation(
                "health", "service", "Alive.", {"200": answer("It is.", "Health")}, public=True
            ),
        },
        "/ready": {
            "get": _operation(
                "ready",
                "service",
                "Ready to take work: the store is in reach, and the server is not stopping.",
                {"200": answer("It is.", "Readiness")},
                public=True,
            ),
        },
        "/openapi.json": {
            "get": _operation(
                "describe", "service", "This description.", {"200": document}, public=True
            ),
        },
    }


def _operation(
    name: str,
    tag: str,
    summary: str,
    answers: Part,
    *,
    refused: tuple[int, ...] = (),
    body: str | None = None,
    optional: bool = False,
    parameters: Sequence[Part] = (),
    public: bool = False,
) -> dict[str, Any]:
    """``refused`` are the statuses besides those that any request can be answered with."""
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "responses": dict(answers),
        "refused": refused,
    }
    if body is not None:
        schema: Part = {"anyOf": [ref(body), {"type": "null"}]} if optional else ref(body)
        operation["requestBody"] = {"required": not optional, "content": {JSON: {"schema": schema}}}
    if parameters:
        operation["parameters"] = list(parameters)
    if public:
        operation["security"] = []
    return operation


def _parameter(
    name: str, place: str, schema: Part, about: str, *, example: str | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "in": place, "schema": schema, "description": about}
    if place == "path":
        made["required"] = True
    if example is not None:
        made["example"] = example
    return made


def _links(session_id: str) -> dict[str, Any]:
    return {name: {"operationId": name, "parameters": {"session_id": session_id}} for name in _NEXT}
