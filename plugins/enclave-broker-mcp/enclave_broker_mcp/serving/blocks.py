"""Results that are MCP content already: what came from an MCP server, or was made for a client."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

from mcp import types
from pydantic import ValidationError

MOST_BLOCKS = 1000

_KINDS: Mapping[str, type[types.ContentBlock]] = {
    "text": types.TextContent,
    "image": types.ImageContent,
    "audio": types.AudioContent,
    "resource": types.EmbeddedResource,
    "resource_link": types.ResourceLink,
}


def content_of(value: Any) -> list[types.ContentBlock] | None:
    """The blocks of a list that has nothing but blocks, by the protocol's own keys.

    None for any other value: a block with a key too many, or one of the wrong type, makes the
    list one like any other.
    """
    if not isinstance(value, list) or not 0 < len(value) <= MOST_BLOCKS:
        return None
    blocks: list[types.ContentBlock] = []
    for item in value:
        block = _block(item)
        if block is None:
            return None
        blocks.append(block)
    return blocks


def _block(item: Any) -> types.ContentBlock | None:
    kind = item.get("type") if isinstance(item, dict) else None
    model = _KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return None
    try:
        block = model.model_validate(item, strict=True, by_name=False)
    except ValidationError:
        return None
    # The SDK's models drop what they don't know.
    if block.model_dump(mode="json", by_alias=True, exclude_unset=True) != item:
        return None
    return block if _is_sendable(block) else None


def _is_sendable(block: types.ContentBlock) -> bool:
    if isinstance(block, types.ImageContent | types.AudioContent):
        return _is_base64(block.data)
    if isinstance(block, types.EmbeddedResource):
        held = block.resource
        return isinstance(held, types.TextResourceContents) or _is_base64(held.blob)
    return True


def _is_base64(text: str) -> bool:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # also what is not ASCII
        return False
    return True
