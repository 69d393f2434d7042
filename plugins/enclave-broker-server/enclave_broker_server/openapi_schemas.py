"""The schemas of the API's description: what clients send, and what they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from enclave_broker_core.mailbox import ToolCallMessage

from .requests import Cancellation, Execution, NewSession, ToolResult

TEXT: Mapping[str, Any] = {"type": "string"}
COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
TIMESTAMP: Mapping[str, Any] = {"type": "string", "format": "date-time", "pattern": "Z$"}
BOOLEAN: Mapping[str, Any] = {"type": "boolean"}
OBJECT: Mapping[str, Any] = {"type": "object"}
ANYTHING: Mapping[str, Any] = {}
SESSION_ID: Mapping[str, Any] = {"type": "string", "pattern": "^s_[A-Za-z0-9_-]{1,64}$"}
CALL_ID: Mapping[str, Any] = {"type": "string", "pattern": "^c_[A-Za-z0-9_-]+$"}

Schema = Mapping[str, Any]


def schemas() -> dict[str, Any]:
    """All of them, by name."""
    return {**_sent(), **_answered(), **_events()}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _sent() -> dict[str, Any]:
    found: dict[str, Any] = {}
    models: Mapping[str, type[BaseModel]] = {
        "NewSession": NewSession,
        "Execution": Execution,
        "Cancellation": Cancellation,
        "ToolResult": ToolResult,
        "ToolCall": ToolCallMessage,
    }
    for name, model in models.items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= schema.pop("$defs", {})
        found[name] = schema
    found["NewSession"]["properties"]["sessionId"] = SESSION_ID
    return found


def _answered() -> dict[str, Any]:
    stats = _object({"duration": COUNT, "toolCallCount": COUNT})
    return {
        "Error": _object({"code": TEXT, "message": TEXT}, {"details": _list(ref("Detail"))}),
        "Detail": {
            "oneOf": [
                _detail("retry_info", retryDelayMs=COUNT),
                _detail("upstream_info", statusCode=COUNT, url=TEXT),
                _detail("validation_info", field=TEXT, reason=TEXT),
                _detail("quota_info", limit=COUNT, used=COUNT),
            ]
        },
        "Session": _object(
            {
                "sessionId": SESSION_ID,
                "state": {
                    "enum": [
                        "starting",
                        "running",
                        "waiting_for_tool",
                        "completed",
                        "cancelled",
                        "failed",
                    ]
                },
                "createdAt": COUNT,
                "expiresAt": COUNT,
                "stats": stats,
            }
        ),
        "Sessions": _object({"sessions": _list(ref("Session")), "total": COUNT}),
        "Success": _object({"success": {"const": True}, "sessionId": SESSION_ID}),
        "Ticket": _object({"ticket": TEXT, "expiresAt": COUNT}),
        "ToolAnswer": _object(
            {"id": TEXT, "name": TEXT, "ok": BOOLEAN, "durationMs": COUNT},
            {"data": ANYTHING, "error": ref("Error")},
        ),
        "ToolCalls": _object({"toolCalls": _list(ref("FinishedCall")), "total": COUNT}),
        "FinishedCall": _object(
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
        "Answered": _object({"success": {"const": True}, "callId": TEXT}),
        "Tool": _tool(),
        "Tools": _object({"tools": _list(ref("Tool")), "total": COUNT}),
        "Actions": _object(
            {
                "actions": _list(_tool(service=TEXT)),
                "services": _list(_object({"name": TEXT, "actionCount": COUNT})),
                "version": TEXT,
            }
        ),
        "Status": _object({"status": {"enum": ["ok", "ready"]}}),
    }


def _tool(**more: Schema) -> dict[str, Any]:
    return _object(
        {
            "name": TEXT,
            "description": TEXT,
            "inputSchema": OBJECT,
            "tags": _list(TEXT),
            "deprecated": BOOLEAN,
            **more,
        },
        {"outputSchema": OBJECT},
    )


def _events() -> dict[str, Any]:
    """One schema for each type of event, and ``Event`` for any of them."""
    failure = _object({"message": TEXT}, {"code": TEXT})
    stats = _object({"durationMs": COUNT, "toolCallCount": COUNT, "stdoutBytes": COUNT})
    failures = _object(
        {"code": TEXT, "message": TEXT}, {"path": _list(TEXT), "details": _list(ref("Detail"))}
    )
    payloads: dict[str, tuple[dict[str, Schema], dict[str, Schema]]] = {
        "session_init": (
            {
                "cancelUrl": TEXT,
                "expiresAt": TIMESTAMP,
                "encryption": _object({"enabled": {"const": False}}),
            },
            {"replayUrl": TEXT},
        ),
        "stdout": ({"chunk": TEXT}, {}),
        "log": (
            {"level": {"enum": ["debug", "info", "warn", "error"]}, "message": TEXT},
            {"data": OBJECT},
        ),
        "tool_call": ({"callId": CALL_ID, "toolName": TEXT, "args": OBJECT}, {}),
        "tool_progress": (
            {
                "callId": CALL_ID,
                "phase": {"enum": ["connecting", "sending", "receiving", "processing"]},
                "elapsedMs": COUNT,
            },
            {"bytesReceived": COUNT, "totalBytes": COUNT},
        ),
        "tool_result_applied": (
            {"callId": CALL_ID, "ok": BOOLEAN, "durationMs": COUNT},
            {"code": TEXT, "message": TEXT},
        ),
        "partial_result": (
            {"path": _list(TEXT), "hasNext": BOOLEAN},
            {"data": ANYTHING, "error": failure},
        ),
        "heartbeat": ({"ts": TIMESTAMP}, {}),
        "error": ({"message": TEXT}, {"code": TEXT, "recoverable": BOOLEAN}),
        "deadline_exceeded": (
            {"elapsedMs": COUNT, "budgetMs": {"type": "integer", "minimum": 1}},
            {},
        ),
        "catalog_changed": (
            {"version": TEXT, "addedActions": _list(TEXT), "removedActions": _list(TEXT)},
            {},
        ),
        "final": (
            {"ok": BOOLEAN},
            {"result": ANYTHING, "error": failure, "errors": _list(failures), "stats": stats},
        ),
    }
    made = {
        f"Event_{kind}": _object(
            {
                "protocolVersion": {"const": 2},
                "sessionId": SESSION_ID,
                "seq": {"type": "integer", "minimum": 1},
                "type": {"const": kind},
                "payload": _object(*fields),
            }
        )
        for kind, fields in payloads.items()
    }
    return {**made, "Event": {"oneOf": [ref(name) for name in made]}}


def _detail(kind: str, **fields: Schema) -> dict[str, Any]:
    return _object({"type": {"const": kind}, **fields})


def _object(
    required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(item: Schema) -> dict[str, Any]:
    return {"type": "array", "items": item}
