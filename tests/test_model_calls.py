"""Model APIs' tool calls as they come, and the messages that answer them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from enclave_broker_core import (
    AccessController,
    ArgumentsError,
    Broker,
    Principal,
    RateLimiter,
    Session,
    SessionEndedError,
    SessionNotFoundError,
)
from enclave_broker_core.model_calls import ModelCall, Unreadable, model_call

anyio_test = pytest.mark.anyio

FORMATS = ["openai", "openai-responses", "anthropic", "mcp", "mcp request"]


def call_of(format: str, name: str, arguments: Any, call_id: str = "c1") -> dict[str, Any]:
    """A call as the API makes it: OpenAI's arguments are text."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": name, "arguments": text}
    calls: dict[str, dict[str, Any]] = {
        "openai": {"id": call_id, "type": "function", "function": function},
        "openai-responses": {
            "type": "function_call",
            "id": "fc_1",
            "call_id": call_id,
            "name": name,
            "arguments": text,
            "status": "completed",
        },
        "anthropic": {"type": "tool_use", "id": call_id, "name": name, "input": arguments},
        "mcp": {"name": name, "arguments": arguments},
        "mcp request": {
            "jsonrpc": "2.0",
            "id": 7,
            "method": "tools/call",
            "params": {"name": name, "arguments": arguments, "_meta": {"progressToken": 1}},
        },
    }
    return calls[format]


def text_of(format: str, message: dict[str, Any]) -> str:
    if format.startswith("mcp"):
        (block,) = message["content"]
        assert block["type"] == "text"
        found: str = block["text"]
        return found
    text: str = message["output" if format == "openai-responses" else "content"]
    return text


def error_of(format: str, message: dict[str, Any]) -> dict[str, Any]:
    """The error in a message that the API takes as one of its own."""
    if format.startswith("mcp"):
        assert (message["isError"], "structuredContent" in message) == (True, False)
    if format == "anthropic":
        assert message["is_error"] is True
    error: dict[str, Any] = json.loads(text_of(format, message))["error"]
    return error


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[Broker, Session]]:
    rules: list[Any] = [{"pattern": "admin:*", "allow": False}]
    broker = Broker(
        access=AccessController(rules, default="allow"),
        limiter=RateLimiter(per_tool={"rare": {"max_calls": 1, "window": 60}}),
    )

    @broker.tool("users:get")
    async def get(id: int) -> dict[str, Any]:
        return {"id": id, "name": "Zoë"}

    @broker.tool("echo")
    async def echo(value: Any = None) -> Any:
        return value

    @broker.tool("fails")
    async def fails() -> None:
        raise ValueError("no such luck")

    @broker.tool("slow", timeout=0.01)
    async def slow() -> None:
        await anyio.sleep_forever()

    broker.tool("rare")(echo)
    broker.tool("admin:stop")(echo)
    async with broker:
        yield broker, await broker.create_session(**options)


USER = '{"id":1,"name":"Zoë"}'


@anyio_test
@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("openai", {"role": "tool", "tool_call_id": "c1", "content": USER}),
        ("openai-responses", {"type": "function_call_output", "call_id": "c1", "output": USER}),
        ("anthropic", {"type": "tool_result", "tool_use_id": "c1", "content": USER}),
        (
            "mcp",
            {
                "content": [{"type": "text", "text": USER}],
                "structuredContent": {"id": 1, "name": "Zoë"},
                "isError": False,
            },
        ),
    ],
)
async def test_a_result_in_each_format(format: str, expected: dict[str, Any]) -> None:
    call = call_of(format, "users_get", {"id": 1})
    async with opened() as (broker, session):
        assert await broker.execute_model_call(session.id, call) == expected
        assert await broker.execute_model_call(session.id, call, format=format) == expected
        if format == "mcp":
            request = call_of("mcp request", "users:get", {"id": 1})
            assert await broker.execute_model_call(session.id, request) == expected


@anyio_test
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a text", "a text"),
        ("", ""),
        (None, "null"),
        (True, "true"),
        ([1, {"a": None}], '[1,{"a":null}]'),
        (1.5, "1.5"),
    ],
)
async def test_a_text_goes_back_as_it_is_and_all_else_as_json(
    format: str, value: Any, text: str
) -> None:
    async with opened() as (broker, session):
        call = call_of(format, "echo", {"value": value})
        message = await broker.execute_model_call(session.id, call)
    assert text_of(format, message) == text
    assert "structuredContent" not in message


@anyio_test
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("users:gte", {}, "UNKNOWN_TOOL"),
        ("", {}, "UNKNOWN_TOOL"),
        ("n" * 5000, {}, "UNKNOWN_TOOL"),
        ("users_get", {"id": "x"}, "VALIDATION_ERROR"),
        ("users_get", [], "VALIDATION_ERROR"),
        ("echo", 0, "VALIDATION_ERROR"),
        ("echo", [["value", 1]], "VALIDATION_ERROR"),
        ("echo", {"value": "x" * 3000}, "VALIDATION_ERROR"),
        ("admin_stop", {}, "ACCESS_DENIED"),
        ("fails", {}, "TOOL_ERROR"),
        ("slow", {}, "TOOL_TIMEOUT"),
    ],
)
async def test_what_goes_wrong_is_told_to_the_model_and_recorded(
    format: str, name: str, arguments: Any, code: str
) -> None:
    async with opened(max_argument_bytes=2000) as (broker, session):
        call = call_of(format, name, arguments)
        message = await broker.execute_model_call(session.id, call)
        (record,) = await session.history()
    error = error_of(format, message)
    assert (error["code"], record.error_code) == (code, code)
    assert error["message"]
    assert len(str(message)) < 2000


@anyio_test
@pytest.mark.parametrize("format", ["openai", "openai-responses"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"id": 1', "not JSON"),
        ("{'id': 1}", "not JSON"),
        ('{"id": NaN}', "not JSON"),
        ('{"id": 1e999}', "too large"),
        ('"id"', "must be an object"),
        ("null null", "not JSON"),
        ("[" * 1500, "not JSON"),
        ('{"id": "\ud800"}', "not JSON"),
        (" " * 3000, "larger than 2000 bytes"),
    ],
)
async def test_arguments_that_are_no_object(format: str, text: str, reason: str) -> None:
    async with opened(max_argument_bytes=2000, max_tool_calls=2) as (broker, session):
        call = call_of(format, "users_get", text)
        error = error_of(format, await broker.execute_model_call(session.id, call))
        assert error["code"] == "VALIDATION_ERROR"
        assert reason in error["message"]
        assert error["message"].startswith("the arguments of users:get")
        # The attempt counts like any other.
        assert session.info().tool_calls == 1
        await broker.execute_model_call(session.id, call)
        last = error_of(format, await broker.execute_model_call(session.id, call))
        assert last["code"] == "MAX_TOOL_CALLS"


@anyio_test
@pytest.mark.parametrize("format", FORMATS)
async def test_no_arguments_at_all(format: str) -> None:
    call = call_of(format, "echo", {})
    inside = call.get("function", call.get("params", call))
    async with opened() as (broker, session):
        for nothing in (None, "", " \n"):
            inside["input" if format == "anthropic" else "arguments"] = nothing
            assert text_of(format, await broker.execute_model_call(session.id, call)) == "null"
        del inside["input" if format == "anthropic" else "arguments"]
        assert text_of(format, await broker.execute_model_call(session.id, call)) == "null"


@anyio_test
@pytest.mark.parametrize("format", FORMATS)
async def test_a_refusal_that_passes_says_when_to_come_back(format: str) -> None:
    async with opened() as (broker, session):
        call = call_of(format, "rare", {"value": 1})
        assert text_of(format, await broker.execute_model_call(session.id, call)) == "1"
        error = error_of(format, await broker.execute_model_call(session.id, call))
    assert error["code"] == "RATE_LIMITED"
    (retry,) = [item for item in error["details"] if item["type"] == "retry_info"]
    assert 30_000 < retry["retryDelayMs"] <= 60_000


class Function(BaseModel):
    name: str
    arguments: str


class ClientsToolCall(BaseModel):
    id: str
    type: Literal["function"] = "function"
    function: Function


@anyio_test
async def test_the_object_that_an_api_s_client_makes_of_it() -> None:
    call = ClientsToolCall(id="c9", function=Function(name="echo", arguments='{"value": null}'))
    async with opened() as (broker, session):
        message = await broker.execute_model_call(session.id, call)
    assert message == {"role": "tool", "tool_call_id": "c9", "content": "null"}


NO_CALLS: list[Any] = [
    None,
    "call",
    [],
    {},
    {"type": "function"},
    {"type": "function", "id": "c1", "function": "echo"},
    {"type": "function", "id": "c1", "function": {"arguments": "{}"}},
    {"type": "function", "function": {"name": "echo", "arguments": "{}"}},
    {"type": "function_call", "id": "c1", "name": "echo", "arguments": "{}"},
    {"type": "tool_use", "id": "", "name": "echo", "input": {}},
    {"type": "tool_use", "id": "c" * 129, "name": "echo", "input": {}},
    {"type": "tool_use", "id": "c\ud800", "name": "echo", "input": {}},
    {"type": "tool_use", "id": 1, "name": "echo", "input": {}},
    {"type": "text", "text": "hello", "name": "echo"},
    {"type": "custom", "id": "c1", "custom": {"name": "echo", "input": "x"}},
    {"method": "tools/list", "params": {"name": "echo"}},
    {"method": "tools/call", "name": "echo"},
    {"name": 1},
]


@anyio_test
@pytest.mark.parametrize("call", NO_CALLS)
async def test_what_is_no_call_is_the_program_s_mistake(call: Any) -> None:
    async with opened() as (broker, session):
        with pytest.raises(ArgumentsError) as caught:
            await broker.execute_model_call(session.id, call)
        assert await session.history() == []
    message = str(caught.value)
    assert message.startswith("this is no tool call of a known shape; known are: openai {")
    assert all(shape in message for shape in ("openai-responses {", "anthropic {", "mcp {"))


@anyio_test
async def test_a_call_of_another_format_than_was_said() -> None:
    async with opened() as (broker, session):
        call = call_of("openai", "echo", {})
        with pytest.raises(ArgumentsError, match="no tool call of anthropic; known are: "):
            await broker.execute_model_call(session.id, call, format="anthropic")
        with pytest.raises(ArgumentsError, match="there is no format 'gemini'; there are: "):
            await broker.execute_model_call(session.id, call, format="gemini")


@anyio_test
async def test_a_session_that_is_over_or_somebody_else_s_is_no_answer_to_a_model() -> None:
    call = call_of("openai", "echo", {})
    async with opened(principal=Principal(id="ada")) as (broker, session):
        with pytest.raises(SessionNotFoundError):
            await broker.execute_model_call(session.id, call, principal=Principal(id="eve"))
        await session.complete()
        with pytest.raises(SessionEndedError):
            await broker.execute_model_call(session.id, call, principal=Principal(id="ada"))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = ("type", "id", "call_id", "name", "function", "arguments", "input", "method", "params")
TYPES = st.sampled_from(["function", "function_call", "tool_use", "tools/call", "echo"])
likely = st.dictionaries(st.sampled_from(KEYS), TYPES | anything, max_size=6)


@given(likely | st.fixed_dictionaries({"type": TYPES, "id": st.text(), "function": likely}))
def test_whatever_comes_is_a_call_or_an_arguments_error(given_call: Any) -> None:
    try:
        found = model_call(given_call)
    except ArgumentsError:
        return
    assert type(found) is ModelCall
    assert isinstance(found.name, str)
    assert (found.id is None) == (found.format == "mcp")


def test_arguments_that_can_not_be_read_can_not_be_read_in_any_way() -> None:
    unreadable = Unreadable("so it is")
    for read in (list, dict, lambda one: one["a"]):
        with pytest.raises(ValueError, match="so it is"):
            read(unreadable)
    assert unreadable
