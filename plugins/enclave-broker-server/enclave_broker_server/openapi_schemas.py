"""The schemas of the API's description, by name: what clients are sent besides events."""

from __future__ import annotations

from typing import Any

from enclave_broker_core.models import SessionState

from .openapi_events import event_schemas
from .openapi_forms import (
    ANYTHING,
    BOOLEAN,
    CALL_ID,
    COUNT,
    OBJECT,
    SESSION_ID,
    TEXT,
    Schema,
    items,
    object_of,
    ref,
)
from .openapi_requests import request_schemas


def schemas(longest_code: int) -> dict[str, Any]:
    """All of them, those of requests and events too. Code may have so many bytes."""
    return {**request_schemas(longest_code), **_answers(), **event_schemas()}


def _answers() -> dict[str, Any]:
    stats = object_of({"duration": COUNT, "toolCallCount": COUNT})
    return {
        "Error": object_of({"code": TEXT, "message": TEXT}, {"details": items(ref("Detail"))}),
        "Detail": {
            "oneOf": [
                _detail("retry_info", retryDelayMs=COUNT),
                _detail("upstream_info", statusCode=COUNT, url=TEXT),
                _detail("validation_info", field=TEXT, reason=TEXT),
                _detail("quota_info", limit=COUNT, used=COUNT),
            ]
        },
        "Session": object_of(
            {
                "sessionId": SESSION_ID,
                "state": {"enum": [state.value for state in SessionState]},
                "createdAt": COUNT,
                "expiresAt": COUNT,
                "stats": stats,
            }
        ),
        "Sessions": object_of({"sessions": items(ref("Session")), "total": COUNT}),
        "Success": object_of({"success": {"const": True}, "sessionId": SESSION_ID}),
        "Ticket": object_of({"ticket": TEXT, "expiresAt": COUNT}),
        "ToolAnswer": {
            "oneOf": [_called(True, "data", ANYTHING), _called(False, "error", ref("Error"))]
        },
        "ToolCalls": object_of({"toolCalls": items(ref("FinishedCall")), "total": COUNT}),
        "FinishedCall": object_of(
            {
                "callId": CALL_ID,
                "tool": TEXT,
                "arguments": OBJECT,
                "outcome": {"enum": ["ok", "error", "refused", "cancelled"]},
                "startedAtMs": COUNT,
                "endedAtMs": COUNT,
            },
            {"errorCode": TEXT},
        ),
        "Answered": object_of({"success": {"const": True}, "callId": TEXT}),
        "Tool": _tool(),
        "Tools": object_of({"tools": items(ref("Tool")), "total": COUNT}),
        "Action": _tool(service=TEXT),
        "Actions": object_of(
            {
                "actions": items(ref("Action")),
                "services": items(object_of({"name": TEXT, "actionCount": COUNT})),
                "version": TEXT,
            }
        ),
        "Health": object_of({"status": {"const": "ok"}}),
        "Readiness": object_of({"status": {"const": "ready"}}),
    }


def _called(ok: bool, key: str, outcome: Schema) -> dict[str, Any]:
    return object_of(
        {"id": TEXT, "name": TEXT, "ok": {"const": ok}, "durationMs": COUNT, key: outcome}
    )


def _tool(**more: Schema) -> dict[str, Any]:
    return object_of(
        {
            "name": TEXT,
            "description": TEXT,
            "inputSchema": OBJECT,
            "tags": items(TEXT),
            "deprecated": BOOLEAN,
            **more,
        },
        {"outputSchema": OBJECT},
    )


def _detail(kind: str, **fields: Schema) -> dict[str, Any]:
    return object_of({"type": {"const": kind}, **fields})
