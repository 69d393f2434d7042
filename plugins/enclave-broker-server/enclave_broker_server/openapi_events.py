"""The schemas of events, as they are on a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .openapi_forms import (
    ANYTHING,
    BOOLEAN,
    CALL_ID,
    COUNT,
    OBJECT,
    SESSION_ID,
    TEXT,
    TIMESTAMP,
    Schema,
    items,
    object_of,
    ref,
)


def event_schemas() -> dict[str, Any]:
    """One for each type of event, ``Event`` for any of them, and the two forms of streams."""
    made = {
        f"Event_{kind}": object_of(
            {
                "protocolVersion": {"const": 2},
                "sessionId": SESSION_ID,
                "seq": {"type": "integer", "minimum": 1},
                "type": {"const": kind},
                "payload": object_of(*fields),
            }
        )
        for kind, fields in _payloads().items()
    }
    return {
        **made,
        "Event": {
            "description": "`seq` rises by one in the log of a session. A heartbeat is of one"
            " stream, not of the log, and has the seq of the event before it.",
            "oneOf": [ref(name) for name in made],
            "discriminator": {
                "propertyName": "type",
                "mapping": {kind: ref(f"Event_{kind}")["$ref"] for kind in _payloads()},
            },
        },
        "EventLines": {
            "description": "The lines of the stream, each the JSON text of an event.",
            **items(ref("Event")),
        },
        "EventMessage": {
            "description": "One message of the stream; its id is the event's seq.",
            "type": "object",
            "properties": {
                "id": {"type": "string", "pattern": "^[1-9][0-9]*$"},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": ref("Event"),
                },
            },
            "required": ["id", "data"],
        },
    }


def _payloads() -> Mapping[str, tuple[Mapping[str, Schema], Mapping[str, Schema]]]:
    """What each type has to have, and what it may have."""
    failure = object_of({"message": TEXT}, {"code": TEXT})
    stats = object_of({"durationMs": COUNT, "toolCallCount": COUNT, "stdoutBytes": COUNT})
    failures = object_of(
        {"code": TEXT, "message": TEXT}, {"path": items(TEXT), "details": items(ref("Detail"))}
    )
    return {
        "session_init": (
            {
                "cancelUrl": TEXT,
                "expiresAt": TIMESTAMP,
                "encryption": object_of({"enabled": {"const": False}}),
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
            {"path": items(TEXT), "hasNext": BOOLEAN},
            {"data": ANYTHING, "error": failure},
        ),
        "heartbeat": ({"ts": TIMESTAMP}, {}),
        "error": ({"message": TEXT}, {"code": TEXT, "recoverable": BOOLEAN}),
        "deadline_exceeded": (
            {"elapsedMs": COUNT, "budgetMs": {"type": "integer", "minimum": 1}},
            {},
        ),
        "catalog_changed": (
            {"version": TEXT, "addedActions": items(TEXT), "removedActions": items(TEXT)},
            {},
        ),
        "final": (
            {"ok": BOOLEAN},
            {"result": ANYTHING, "error": failure, "errors": items(failures), "stats": stats},
        ),
    }
