"""Results that are MCP content reach the client as such, and only those."""

from __future__ import annotations

import json
from typing import Any

import pytest
from enclave_broker_mcp.serving.results import succeeded
from mcp import types

TEXT = {"type": "text", "text": "It is here."}
IMAGE = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
BLOCKS: list[dict[str, Any]] = [
    TEXT,
    {**TEXT, "annotations": {"audience": ["user"], "priority": 0.5}},
    IMAGE,
    {"type": "audio", "data": "", "mimeType": "audio/wav"},
    {"type": "resource", "resource": {"uri": "a:b", "text": "x"}},
    {"type": "resource", "resource": {"uri": "a:b", "mimeType": "x/y", "blob": "aGk="}},
    {"type": "resource_link", "name": "a", "uri": "file:///a b", "mimeType": "text/plain"},
]


def sent(result: types.CallToolResult) -> list[Any]:
    content: list[Any] = result.model_dump(mode="json", by_alias=True, exclude_unset=True)[
        "content"
    ]
    return content


def test_blocks_are_the_content_itself() -> None:
    result = succeeded(BLOCKS)
    assert sent(result) == BLOCKS
    assert result.structured_content is None


@pytest.mark.parametrize(
    "item",
    [
        {**TEXT, "more": 1},
        {**TEXT, "annotations": {"more": 1}},
        {"type": "text", "text": 1},
        {"type": "text"},
        {"type": "tool_use", "id": "1", "name": "x", "input": {}},
        {"type": ["text"], "text": "x"},
        {"text": "x"},
        {**IMAGE, "data": "no base64"},
        {**IMAGE, "data": "é"},
        {"type": "image", "data": "aGk=", "mime_type": "image/png"},
        {"type": "resource", "resource": {"uri": "a:b", "text": "x", "blob": "aGk="}},
        {"type": "resource", "resource": {"uri": "a:b", "blob": "-"}},
        {"type": "resource_link", "uri": "a:b"},
        "text",
    ],
)
def test_one_that_is_none_makes_all_a_value_like_any_other(item: Any) -> None:
    value = [TEXT, item]
    [block] = sent(succeeded(value))
    assert (block["type"], json.loads(block["text"])) == ("text", value)


def test_no_blocks_and_too_many_are_values() -> None:
    assert sent(succeeded([])) == [{"type": "text", "text": "[]"}]
    assert len(sent(succeeded([TEXT] * 1000))) == 1000
    assert len(sent(succeeded([TEXT] * 1001))) == 1
