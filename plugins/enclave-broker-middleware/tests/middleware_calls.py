"""Calls, and what stands below a middleware, for its tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.models import Principal, ToolSpec
from enclave_broker_core.testing.middleware import SampleFrame

ADA = Principal(id="ada", tenant="north")
BOB = Principal(id="bob", tenant="north")


def spec(name: str = "users:get", **fields: Any) -> ToolSpec:
    return ToolSpec(name=name, **{"input_schema": {"type": "object"}, **fields})


def call(
    tool: ToolSpec,
    args: Mapping[str, Any] | bytes = b"{}",
    *,
    principal: Principal | None = ADA,
    session: str = "s_1",
    **frame: Any,
) -> ToolCall:
    text = args if isinstance(args, bytes) else to_json(args)
    return ToolCall(
        "c_1", tool.name, text, principal, SampleFrame(session, tool=tool, **frame), ["granted"]
    )


class Answers:
    """Below a middleware: gives the answers or raises the errors in turn, the last for ever."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.calls: list[ToolCall] = []

    async def __call__(self, call: ToolCall) -> Any:
        self.calls.append(call)
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
