"""What a server answers to a call, as the result of a tool."""

from __future__ import annotations

from typing import Any

import mcp_types as types

from enclave_broker_core.errors import ToolError
from enclave_broker_core.json_form import NotJsonError, parse
from enclave_broker_core.redaction import Redactor
from enclave_broker_core.schema_tools import Check

from .errors import ServerError
from .texts import LONGEST_MESSAGE, visible

MOST_BLOCKS = 1000


def result_of(
    answer: types.CallToolResult, *, check: Check | None, as_json: bool, redactor: Redactor
) -> Any:
    """The result. ToolError with what the server says when it says that the tool failed.

    ``structuredContent`` is the result when there is some. Else it is what ``content`` has:
    None, the text of a single text, or a list of all blocks.
    """
    if answer.is_error:
        texts = [block.text for block in answer.content if isinstance(block, types.TextContent)]
        said = visible("\n".join(texts[:MOST_BLOCKS])[: 4 * LONGEST_MESSAGE], LONGEST_MESSAGE)
        raise ToolError(redactor.text(said) or "the tool failed, and its server does not say why")
    structured = answer.structured_content
    if structured is not None or (check and "structured_content" in answer.model_fields_set):
        wrong = check(structured) if check is not None else ()
        if wrong:
            fields = "; ".join(f"{field}: {why}" if field else why for field, why in wrong)
            raise ServerError(f"the result does not fit the tool's own output schema: {fields}")
        return structured
    if check is not None:
        raise ServerError("the result is not structured, as the tool's output schema says it is")
    blocks = answer.content
    if len(blocks) > MOST_BLOCKS:
        raise ServerError(f"the result has {len(blocks)} blocks, {MOST_BLOCKS} are allowed")
    if not blocks:
        return None
    if len(blocks) == 1 and isinstance(blocks[0], types.TextContent):
        return _text(blocks[0].text, as_json)
    return [_block(block) for block in blocks]


def _text(text: str, as_json: bool) -> Any:
    if as_json and text.lstrip()[:1] in ("{", "["):
        try:
            return parse(text)
        except NotJsonError:
            return text
    return text


def _block(block: types.ContentBlock) -> dict[str, Any]:
    """A block by the protocol's own keys, without what is for a client's user."""
    if isinstance(block, types.TextContent):
        return {"type": "text", "text": block.text}
    if isinstance(block, types.ImageContent | types.AudioContent):
        return {"type": block.type, "data": block.data, "mimeType": block.mime_type}
    if isinstance(block, types.EmbeddedResource):
        return {"type": "resource", "resource": _resource(block.resource)}
    link = {"name": block.name, "uri": str(block.uri), "mimeType": block.mime_type}
    if block.description:
        link["description"] = visible(block.description)
    return {"type": "resource_link", **{key: item for key, item in link.items() if item}}


def _resource(resource: types.TextResourceContents | types.BlobResourceContents) -> dict[str, Any]:
    held = (
        {"text": resource.text}
        if isinstance(resource, types.TextResourceContents)
        else {"blob": resource.blob}
    )
    kind = {} if resource.mime_type is None else {"mimeType": resource.mime_type}
    return {"uri": str(resource.uri), **kind, **held}
