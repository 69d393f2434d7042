"""What is asked of a new session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from pydantic import JsonValue

Filter = Mapping[str, Any]


class SessionOptions(TypedDict, total=False):
    """Of a session: ``run_timeout`` and ``heartbeat`` are in seconds.

    They can lower the server's limits and never raise them. ``allowed_tools`` are patterns,
    ``runtime`` one of the server's. A ``durable`` session goes on elsewhere when the server
    that runs it dies; one that can't be is refused.
    """

    run_timeout: float
    max_tool_calls: int
    heartbeat: float
    allowed_tools: Sequence[str]
    metadata: Mapping[str, JsonValue]
    runtime: str
    durable: bool


def wanted(options: SessionOptions) -> dict[str, Any]:
    """The options as the server takes them."""
    config: dict[str, Any] = {}
    if "run_timeout" in options:
        config["maxExecutionMs"] = _milliseconds(options["run_timeout"])
    if "max_tool_calls" in options:
        config["maxToolCalls"] = options["max_tool_calls"]
    if "heartbeat" in options:
        config["heartbeatIntervalMs"] = _milliseconds(options["heartbeat"])
    found: dict[str, Any] = {"config": config} if config else {}
    if "allowed_tools" in options:
        found["allowedTools"] = list(options["allowed_tools"])
    if "metadata" in options:
        found["metadata"] = dict(options["metadata"])
    if "runtime" in options:
        found["runtime"] = options["runtime"]
    if "durable" in options:
        found["durable"] = options["durable"]
    return found


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
