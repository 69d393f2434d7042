"""Answers: the schema of what an operation returns, and the result of a call."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from enclave_broker_network.messages import OutboundResponse

from enclave_broker_core.errors import ToolError
from enclave_broker_core.json_form import NotJsonError, parse

from .bodies import kind_of
from .converting import FILE, Schema
from .document import Document
from .problems import OperationError
from .schemas import FILE_SCHEMA, Schemas

LONGEST_EXCERPT = 2000
_MOST_TYPES = 8
_MOST_ANSWERS = 20
_TOKEN_AT_END = re.compile(r"[A-Za-z0-9+/=_.~%-]+\Z")


class BusyServiceError(ToolError):
    """The service answers later; ``retry_after`` says when, if it said so."""

    retryable = True


class Answers:
    """What an operation says of its answers."""

    def __init__(self, document: Document, responses: Any, base: str) -> None:
        self._document = document
        self._good: list[tuple[Mapping[str, Any], str]] = []
        self._accept: dict[str, None] = {}
        for node in _successes(responses)[:_MOST_ANSWERS]:
            try:
                self._good.append(document.object_at(node, base, "a response"))
            except OperationError:
                continue  # what is not described may still come
        for node, _ in self._good:
            for name in _content(node):
                self._accept[name.strip()] = None

    def accept(self) -> str:
        """The ``Accept`` header: JSON when there is some, else what there is."""
        names = [name for name in self._accept if _sendable(name)]
        wanted = [name for name in names if kind_of(name) == "json"] or names
        return ", ".join(dict.fromkeys(wanted[:_MOST_TYPES])) or "*/*"

    def schema(self, schemas: Schemas) -> Schema | None:
        """The schema of the result; None when not all of the answers have one."""
        found: list[Schema] = []
        names: set[str] = set()
        for node, base in self._good:
            content = _content(node)
            if not content:
                found.append({"type": "null"})
                continue
            for name in _read_types(content):
                media, media_base = self._document.object_at(content[name], base, "a response")
                kind = kind_of(name)
                if kind == "json":
                    if "schema" not in media:
                        return None
                    converted = schemas.convert(media["schema"], media_base)
                    names |= converted.names
                    found.append(converted.schema)
                else:
                    found.append({"type": "string"} if kind == "text" else dict(FILE_SCHEMA))
        if not found:
            return None
        unlike = [one for at, one in enumerate(found) if one not in found[:at]]
        made: Any = unlike[0] if len(unlike) == 1 else {"anyOf": unlike}
        if not isinstance(made, dict):
            return None
        definitions = schemas.definitions(frozenset(names - {FILE}))
        return {**made, "$defs": definitions} if definitions else dict(made)


def _successes(responses: Any) -> list[Any]:
    """The nodes of all answers that are a success; ``default`` only where no other is told."""
    if not isinstance(responses, dict):
        return []
    good = [node for status, node in responses.items() if str(status).startswith("2")]
    if not good and "default" in responses:
        good = [responses["default"]]
    return good


def _content(node: Mapping[str, Any]) -> Mapping[str, Any]:
    content = node.get("content")
    return content if isinstance(content, dict) else {}


def _read_types(content: Mapping[str, Any]) -> list[str]:
    """The media types that may come when JSON is asked for if there is any."""
    json = [name for name in content if kind_of(name) == "json"]
    return (json or list(content))[:_MOST_TYPES]


def _sendable(name: str) -> bool:
    return name.isascii() and name.isprintable() and "/" in name and len(name) < 200


def result_of(method: str, response: OutboundResponse) -> Any:
    """What a call returns. ToolError, with what the service says, for what is no success."""
    if not 200 <= response.status < 300:
        raise failure_of(response)
    if method == "HEAD":
        return {name: response.header(name) for name, _ in response.headers}
    if not response.body:
        return None
    media_type = response.media_type
    if not media_type:
        try:
            return parse(response.body)
        except NotJsonError:
            return response.text()
    kind = kind_of(media_type)
    if kind == "json":
        return _parsed(response.body, "answer")
    if kind == "lines":
        lines = [line.strip(b"\x1e\r\t ") for line in response.body.split(b"\n")]
        return [_parsed(line, "line of the answer") for line in lines if line]
    if kind in ("text", "form"):
        return response.text()
    return {"base64": b64encode(response.body).decode(), "content_type": media_type}


def _parsed(text: bytes, what: str) -> Any:
    try:
        return parse(text.removeprefix(b"\xef\xbb\xbf"))  # some write a BOM all the same
    except NotJsonError as problem:
        raise ToolError(f"the {what} is not JSON: {str(problem)[:200]}") from None


def failure_of(response: OutboundResponse) -> ToolError:
    """The error for an answer that is no success."""
    said = f"the service answered with status {response.status}"
    kind = kind_of(response.media_type) if response.media_type else "text"
    if response.body and kind in ("json", "text", "lines"):
        excerpt = " ".join(response.text().split())
        if len(excerpt) > LONGEST_EXCERPT:
            # Not in the middle of what may be a secret, which then nobody would know again.
            excerpt = f"{_TOKEN_AT_END.sub('', excerpt[:LONGEST_EXCERPT])}…"
        said = f"{said}: {excerpt}"
    kind_of_error = BusyServiceError if response.status in (429, 503) else ToolError
    return kind_of_error(said, retry_after=response.retry_after())
