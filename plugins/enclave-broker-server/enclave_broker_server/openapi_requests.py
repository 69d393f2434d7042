"""The schemas of what clients send: made from the models that read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from enclave_broker_core.mailbox import ToolCallMessage

from .filters import MAX_DEPTH, filter_schema
from .openapi_forms import ref
from .requests import Cancellation, Execution, NewSession, ToolResult

SENT: Mapping[str, type[BaseModel]] = {
    "NewSession": NewSession,
    "Execution": Execution,
    "Cancellation": Cancellation,
    "ToolResult": ToolResult,
    "ToolCall": ToolCallMessage,
}
# What the models' own names and bounds don't say.
_ABOUT: Mapping[str, Mapping[str, str]] = {
    "NewSession": {
        "sessionId": "The session's id; one is made up without it.",
        "code": "What to run; without it the session is an interactive one.",
        "config": "It can lower the server's limits and never raise them.",
        "filter": "Which events are wanted; all of them without it.",
        "allowedTools": "Globs over the names of the tools that the session may use.",
        "metadata": "Whatever the client wants to be kept with the session, up to 64 KiB.",
        "runtime": "What runs code, by its name; the server's first one without it.",
        "clientTools": "Tools that the client itself runs; no two of one name.",
        "durable": "Whether the session goes on elsewhere when the server that runs it dies.",
    },
    "RunConfig": {
        "maxExecutionMs": "How long one run of code may take.",
        "maxToolCalls": "Attempts, those that are refused too.",
        "heartbeatIntervalMs": "Between heartbeats; what is not in 1000 to 25000 is brought there.",
    },
    "DeclaredTool": {
        "inputSchema": "JSON Schema of its arguments, without references to elsewhere.",
        "outputSchema": "JSON Schema of its result; results that do not fit fail.",
        "timeoutMs": "How long an answer may take; a minute without it.",
    },
    "Execution": {
        "code": "What to run.",
        "filter": "Which events are wanted; all of them without it.",
    },
    "Cancellation": {"reason": "What the final event says."},
    "ToolResult": {
        "callId": "That of the call's event.",
        "result": "What the tool gave back, null too.",
        "error": "What went wrong: a text, or an object with a `message`.",
    },
    "ToolCall": {
        "id": "The client's name for the call, which the answer has too.",
        "name": "The tool.",
        "args": "Its arguments.",
    },
}
_EXAMPLES: Mapping[str, list[Any]] = {
    "NewSession": [
        {"code": 'print("hello")'},
        {"allowedTools": ["users:*"], "metadata": {"task": 7}},
        {
            "clientTools": [
                {
                    "name": "client:ask",
                    "description": "Ask the user.",
                    "inputSchema": {
                        "type": "object",
                        "properties": {"question": {"type": "string"}},
                        "required": ["question"],
                    },
                }
            ]
        },
    ],
    "Execution": [{"code": "1 + 1"}],
    "Cancellation": [{"reason": "no longer needed"}],
    "ToolResult": [
        {"callId": "c_1", "result": {"answer": "yes"}},
        {"callId": "c_1", "error": {"message": "the user did not answer"}},
    ],
    "ToolCall": [{"name": "users:get", "args": {"id": 1}}],
    "EventFilter": [
        {"mode": "include", "rules": [{"types": {"types": ["stdout", "log"]}}]},
        {
            "mode": "exclude",
            "rules": [
                {
                    "content": {
                        "patterns": [
                            {"type": "prefix", "pattern": "debug", "field": "payload.level"}
                        ]
                    }
                }
            ],
        },
    ],
}
_FIELD: Mapping[str, str] = {
    "description": "A dotted path from the event's root; the payload's JSON text without it.",
    "pattern": rf"^([^.]+(\.[^.]+){{0,{MAX_DEPTH - 1}}})?$",
}


def request_schemas(longest_code: int) -> dict[str, Any]:
    """All that are sent, by name, with what they are made of. Code may have so many bytes."""
    found = _filters()
    for name, model in SENT.items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= schema.pop("$defs", {})
        found[name] = schema
    for name in ("NewSession", "Execution"):
        fields = found[name]["properties"]
        fields["filter"] = {"anyOf": [ref("EventFilter"), {"type": "null"}], "default": None}
        _text(fields["code"])["maxLength"] = longest_code
    _text(found["NewSession"]["properties"]["allowedTools"])["items"]["format"] = "glob"
    found["ToolResult"]["oneOf"] = [{"required": ["result"]}, {"required": ["error"]}]
    for name, said in _ABOUT.items():
        for field, about in said.items():
            found[name]["properties"][field]["description"] = about
    for name, examples in _EXAMPLES.items():
        found[name]["examples"] = examples
    return found


def _filters() -> dict[str, Any]:
    """The filter, and its parts under ``Filter_``."""
    made = filter_schema("#/components/schemas/Filter{model}")
    parts = {f"Filter{name}": part for name, part in made.pop("$defs").items()}
    pattern = parts["Filter_Pattern"]
    pattern["properties"]["field"]["anyOf"][0] |= _FIELD
    # What a pattern has to be depends on its type.
    parts["Filter_Pattern"] = {
        "oneOf": [
            _pattern(pattern, ["exact", "prefix"]),
            _pattern(pattern, ["regex"], format="re2"),
            _pattern(pattern, ["glob"], format="glob", minLength=1),
        ]
    }
    made["description"] = (
        "Rules are OR-ed, what is in one rule is AND-ed. The final event and heartbeats are"
        " always sent. There may be 100 patterns in all, and all that are a regex or a glob"
        " together have a bound on how complex they are."
    )
    return {"EventFilter": made, **parts}


def _pattern(given: Mapping[str, Any], types: list[str], **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(given))
    made["properties"]["type"] = {"enum": types}
    made["properties"]["pattern"] |= more
    return made


def _text(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field when it is not null."""
    first: dict[str, Any] = schema["anyOf"][0] if "anyOf" in schema else schema
    return first
