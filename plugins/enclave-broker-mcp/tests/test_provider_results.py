"""What comes of a server's answers, and what a configuration may say."""

from __future__ import annotations

import json
import math
from typing import Any

import mcp_types as types
import pytest
from enclave_broker_mcp.provider.catalog import compile_tools
from enclave_broker_mcp.provider.config import McpConfig
from enclave_broker_mcp.provider.definitions import Definition
from enclave_broker_mcp.provider.results import result_of
from pydantic import ValidationError

from enclave_broker_core.errors import ToolError
from enclave_broker_core.redaction import Redactor

OBJECT = {"type": "object"}


def config(**more: Any) -> McpConfig:
    return McpConfig.model_validate({"name": "x", "command": "it"} | more)


def answer(**fields: Any) -> types.CallToolResult:
    return types.CallToolResult.model_validate({"content": [], **fields})


def result(given: types.CallToolResult, **more: Any) -> Any:
    options: dict[str, Any] = {"check": None, "as_json": False, "redactor": Redactor()}
    return result_of(given, **options | more)


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"content": [text("one")]}, "one"),
        ({"content": [text('{"a": 1}')]}, '{"a": 1}'),
        ({"content": [text("one")], "structuredContent": {"a": 1}}, {"a": 1}),
        ({"content": [text("one")], "structuredContent": None}, "one"),
        ({"content": [text("one"), text("two")]}, [text("one"), text("two")]),
        (
            {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png", "_meta": {}}]},
            [{"type": "image", "data": "AAAA", "mimeType": "image/png"}],
        ),
        (
            {"content": [{"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}]},
            [{"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}],
        ),
        (
            {
                "content": [
                    {
                        "type": "resource",
                        "resource": {"uri": "file:///a", "mimeType": "text/plain", "text": "it"},
                    },
                    {"type": "resource", "resource": {"uri": "file:///b", "blob": "AAAA"}},
                    {"type": "resource_link", "uri": "file:///c", "name": "c", "size": 7},
                ]
            },
            [
                {
                    "type": "resource",
                    "resource": {"uri": "file:///a", "mimeType": "text/plain", "text": "it"},
                },
                {"type": "resource", "resource": {"uri": "file:///b", "blob": "AAAA"}},
                {"type": "resource_link", "uri": "file:///c", "name": "c"},
            ],
        ),
    ],
)
def test_what_a_result_is(fields: Any, expected: Any) -> None:
    assert result(answer(**fields)) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        (" [1, 2]", [1, 2]),
        ("7", "7"),
        ('"text"', '"text"'),
        ("{broken", "{broken"),
        ("[1e999]", "[1e999]"),
    ],
)
def test_a_text_that_is_json_may_be_its_value(said: str, expected: Any) -> None:
    assert result(answer(content=[text(said)]), as_json=True) == expected


def test_a_tool_s_own_error_has_its_words_without_secrets() -> None:
    redactor = Redactor()
    redactor.add("a-secret-token")
    failed = answer(content=[text("No\u202e, a-secret-token"), text("x" * 9000)], isError=True)
    with pytest.raises(ToolError) as caught:
        result(failed, redactor=redactor)
    assert caught.value.message.startswith("No, [secret]\nxxx")
    assert len(caught.value.message) <= 2000
    with pytest.raises(ToolError, match="does not say why"):
        result(answer(isError=True))


def test_a_result_is_held_against_the_tool_s_own_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    (one,) = compile_tools([Definition("a", "", OBJECT, schema)], config()).made
    assert result(answer(structuredContent={"a": 1}), check=one.output_check) == {"a": 1}
    for wrong in ({"structuredContent": {"a": "no"}}, {"content": [text("one")]}):
        with pytest.raises(ToolError, match="output schema"):
            result(answer(**wrong), check=one.output_check)


def test_of_blocks_there_may_not_be_too_many() -> None:
    with pytest.raises(ToolError, match="1001 blocks"):
        result(answer(content=[text("")] * 1001))


# Configuration


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give either a 'command' or a 'url'"),
        ({"command": "a", "url": "https://a.example/mcp"}, "give either"),
        ({"command": "a", "headers": {"A": "b"}}, "headers: not for a server that has a 'command'"),
        (
            {"url": "https://a.example/mcp", "args": ["a"]},
            "args: not for a server that has a 'url'",
        ),
        ({"url": "ftp://a.example/"}, "http:// or https://"),
        ({"url": "https://a.example/", "headers": {"Host": "b"}}, "'Host' is not the name"),
        ({"url": "https://a.example/", "headers": {"Accept": "b"}}, "'Accept' is not the name"),
        ({"command": "a", "name": "a:b"}, "a source's name"),
        ({"command": "a", "pin_file": "a.json"}, "pins nothing"),
        ({"command": "a", "include": ["[a"]}, "pattern"),
        ({"command": "a", "env": {"A=B": "c"}}, "not the name of a variable"),
        ({"command": "a", "timeout": math.inf}, "1000000000"),
        ({"command": "a", "sampling": True}, "Extra inputs"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_a_configuration_may_not_say(given: Any, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        McpConfig.model_validate(given)
    assert said in str(caught.value)


def test_no_repr_of_a_configuration_has_a_secret() -> None:
    made_of = [
        config(env={"TOKEN": "open-sesame"}),
        McpConfig.model_validate(
            {
                "url": "https://a.example/mcp",
                "headers": {"Authorization": "open-sesame"},
                "auth": {
                    "type": "client_credentials",
                    "issuer": "https://b.example",
                    "client_id": "me",
                    "client_secret": "open-sesame",
                },
            }
        ),
    ]
    assert "sesame" not in f"{made_of} {[one.model_dump_json() for one in made_of]}"
    schema = json.dumps(McpConfig.model_json_schema())
    assert schema.count('"writeOnly": true') == 3
