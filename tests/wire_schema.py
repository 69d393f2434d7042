"""A strict reading of the wire protocol's page, written apart from the code that writes events.

``problems(line)`` says everything that a strict client would reject a line for, and
``log_problems(lines)`` what is wrong with a whole log.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

Check = Callable[[Any], bool]

SESSION_ID = re.compile(r"s_[A-Za-z0-9_-]{1,64}")
CALL_ID = re.compile(r"c_[A-Za-z0-9_-]+")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def text(value: Any) -> bool:
    return isinstance(value, str)


def count(value: Any) -> bool:
    return type(value) is int and value >= 0


def boolean(value: Any) -> bool:
    return isinstance(value, bool)


def anything(value: Any) -> bool:
    return True


def mapping(value: Any) -> bool:
    return isinstance(value, dict)


def texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def one_of(*allowed: str) -> Check:
    return lambda value: value in allowed and isinstance(value, str)


def shaped(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def shape(**fields: Check) -> Check:
    return lambda value: not wrong(value, fields)


def wrong(value: Any, fields: dict[str, Check]) -> list[str]:
    """A name ending in ``_`` is a key that may be left out; other keys may not be there."""
    if not isinstance(value, dict):
        return ["not an object"]
    known = {name.rstrip("_"): (name.endswith("_"), check) for name, check in fields.items()}
    found = [f"unknown key {key}" for key in value if key not in known]
    for key, (optional, check) in known.items():
        if key not in value:
            if not optional:
                found.append(f"{key} is missing")
        elif not check(value[key]):
            found.append(f"{key} is {value[key]!r}")
    return found


def detail(value: Any) -> bool:
    kinds: dict[str, dict[str, Check]] = {
        "retry_info": {"retryDelayMs": count},
        "upstream_info": {"statusCode": count, "url": text},
        "validation_info": {"field": text, "reason": text},
        "quota_info": {"limit": count, "used": count},
    }
    if not isinstance(value, dict) or value.get("type") not in kinds:
        return False
    return not wrong(value, {"type": text, **kinds[value["type"]]})


def details(value: Any) -> bool:
    return isinstance(value, list) and all(detail(item) for item in value)


def errors(value: Any) -> bool:
    one = shape(code=text, message=text, path_=texts, details_=details)
    return isinstance(value, list) and all(one(item) for item in value)


ERROR = shape(message=text, code_=text)
CALL = shaped(CALL_ID)
PAYLOADS: dict[str, dict[str, Check]] = {
    "session_init": {
        "cancelUrl": text,
        "expiresAt": shaped(TIMESTAMP),
        "encryption": lambda value: value == {"enabled": False},
        "replayUrl_": text,
    },
    "stdout": {"chunk": text},
    "log": {
        "level": one_of("debug", "info", "warn", "error"),
        "message": text,
        "data_": mapping,
    },
    "tool_call": {"callId": CALL, "toolName": text, "args": mapping},
    "tool_progress": {
        "callId": CALL,
        "phase": one_of("connecting", "sending", "receiving", "processing"),
        "elapsedMs": count,
        "bytesReceived_": count,
        "totalBytes_": count,
    },
    "tool_result_applied": {
        "callId": CALL,
        "ok": boolean,
        "durationMs": count,
        "code_": text,
        "message_": text,
    },
    "partial_result": {"path": texts, "data_": anything, "error_": ERROR, "hasNext": boolean},
    # Of one stream, and not in the log.
    "heartbeat": {"ts": shaped(TIMESTAMP)},
    "error": {"message": text, "code_": text, "recoverable_": boolean},
    "deadline_exceeded": {
        "elapsedMs": count,
        "budgetMs": lambda value: count(value) and value > 0,
    },
    "catalog_changed": {"version": text, "addedActions": texts, "removedActions": texts},
    "final": {
        "ok": boolean,
        "result_": anything,
        "error_": ERROR,
        "errors_": errors,
        "stats_": shape(durationMs=count, toolCallCount=count, stdoutBytes=count),
    },
}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    return not isinstance(value, list) or all(_finite(item) for item in value)


def problems(line: bytes | str) -> list[str]:
    """What is wrong with one event, as a line of NDJSON."""
    try:
        event = json.loads(line, parse_constant=_no_constant)
    except ValueError as problem:
        return [f"not JSON: {problem}"]
    if b"\n" in (line if isinstance(line, bytes) else line.encode()):
        return ["more than one line"]
    found = wrong(
        event,
        {
            "protocolVersion": lambda value: type(value) is int and value == 2,
            "sessionId": shaped(SESSION_ID),
            "seq": lambda value: count(value) and value > 0,
            "type": one_of(*PAYLOADS),
            "payload": mapping,
        },
    )
    if found:
        return found
    if not _finite(event):
        return ["a number is not finite"]
    kind, payload = event["type"], event["payload"]
    found = wrong(payload, PAYLOADS[kind])
    if kind in ("final", "tool_result_applied") and payload.get("ok") is False:
        told = "error" in payload if kind == "final" else "code" in payload
        found += [] if told else ["it failed and does not say why"]
    if kind == "partial_result" and ("data" in payload) == ("error" in payload):
        found.append("it has both data and error, or neither")
    return [f"{kind}: {problem}" for problem in found]


def log_problems(lines: Sequence[bytes | str]) -> list[str]:
    """What is wrong with a whole log, from its first event to its final one."""
    found = [f"{number}: {said}" for number, line in enumerate(lines, 1) for said in problems(line)]
    if found:
        return found
    events = [json.loads(line) for line in lines]
    if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
        found.append("seq has gaps or does not start at 1")
    types = [event["type"] for event in events]
    if types[:1] != ["session_init"] or types.count("session_init") != 1:
        found.append("session_init is not the first, once")
    if types[-1:] != ["final"] or types.count("final") != 1:
        found.append("final is not the last, once")
    if "heartbeat" in types:
        found.append("there is a heartbeat in it")
    if len({event["sessionId"] for event in events}) != 1:
        found.append("it is of several sessions")
    called = [event["payload"]["callId"] for event in events if event["type"] == "tool_call"]
    done = [e["payload"]["callId"] for e in events if e["type"] == "tool_result_applied"]
    if len(set(called)) != len(called) or sorted(called) != sorted(done):
        found.append("not every tool_call has its own tool_result_applied")
    return found
