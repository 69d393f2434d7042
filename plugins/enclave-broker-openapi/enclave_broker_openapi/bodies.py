"""The body of a request, as its document describes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .document import Document
from .problems import OperationError, shown

Kind = Literal["json", "form", "multipart", "text", "bytes", "lines"]

# Of several media types the first of these is used.
_PREFERRED: tuple[Kind, ...] = ("json", "multipart", "form", "lines", "text", "bytes")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+(\s*;[ -~]*)?")
_LINES = frozenset(
    {"application/jsonl", "application/x-ndjson", "application/ndjson", "application/json-seq"}
)
_TEXTS = frozenset({"application/xml", "application/yaml", "application/x-yaml"})
_DEEPEST = 8
_MOST_LOOKS = 5000


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one field of a form is written. ``style`` is None where its media type decides."""

    content_type: str | None = None
    style: str | None = None
    explode: bool = True
    allow_reserved: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """A body of one media type. ``schema`` is the node in the document, relative to ``base``.

    ``files`` are the fields of a form that are files, or lists of files.
    """

    media_type: str
    kind: Kind
    required: bool
    schema: Any
    base: str
    description: str = ""
    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    files: frozenset[str] = frozenset()


def kind_of(media_type: str) -> Kind:
    """How a body of a media type is made of an argument."""
    plain = media_type.partition(";")[0].strip().lower()
    if plain in ("application/json", "*/*", "application/*") or plain.endswith("+json"):
        return "json"
    if plain == "application/x-www-form-urlencoded":
        return "form"
    if plain.startswith("multipart/"):
        return "multipart"
    if plain in _LINES or plain.endswith("+json-seq"):
        return "lines"
    if plain.startswith("text/") or plain in _TEXTS or plain.endswith("+xml"):
        return "text"
    return "bytes"


def read_body(document: Document, node: Any, base: str) -> Body | None:
    """The body; None when there is none. OperationError when it can't be made."""
    if node is None:
        return None
    found, base = document.object_at(node, base, "its request body")
    content = found.get("content")
    if not isinstance(content, dict) or not content:
        return None  # nothing is said of it
    media_type = _chosen(content)
    media, media_base = document.object_at(content[media_type], base, "its request body")
    kind = kind_of(media_type)
    schema = media.get("schema")
    if kind == "lines":
        # What one line is; else the schema is of all of them.
        schema = (
            {"type": "array", "items": media["itemSchema"]} if "itemSchema" in media else schema
        )
        schema = {"type": "array"} if schema is None else schema
    elif kind in ("form", "multipart"):
        schema = {"type": "object"} if schema is None else schema
    if kind == "multipart" and not media_type.lower().startswith("multipart/form-data"):
        raise OperationError(f"its request body is {shown(media_type)}, which can't be made")
    look = _Look(document)
    fields = look.fields(schema, media_base) if kind in ("form", "multipart") else {}
    return Body(
        media_type=_sent_as(media_type, kind),
        # Of */* the schema tells whether it is bytes.
        kind="bytes" if media_type.startswith("*/") and look.is_file(schema, media_base) else kind,
        required=found.get("required") is True,
        schema=schema,
        base=media_base,
        description=str(found.get("description") or ""),
        encodings=_encodings(media.get("encoding"), kind),
        files=frozenset(name for name, (node, at) in fields.items() if look.is_file(node, at)),
    )


def _chosen(content: Mapping[str, Any]) -> str:
    usable = [kind for kind in content if _MEDIA_TYPE.fullmatch(kind)]
    if not usable:
        raise OperationError(f"its request body has the media type {shown(next(iter(content)))}")
    # application/json itself before what ends with +json.
    return min(
        usable,
        key=lambda name: (_PREFERRED.index(kind_of(name)), name.lower() != "application/json"),
    )


def _sent_as(media_type: str, kind: Kind) -> str:
    if "*" in media_type.partition(";")[0]:
        return {"json": "application/json", "text": "text/plain"}.get(
            kind, "application/octet-stream"
        )
    return media_type.strip()


class _Look:
    """Looks into a schema for what is a file; bounded, as a schema may refer to itself often."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._left = _MOST_LOOKS

    def fields(self, node: Any, base: str, depth: int = 0) -> dict[str, tuple[Any, str]]:
        """The properties of a form, those of what it is composed of too."""
        found: dict[str, tuple[Any, str]] = {}
        node, base = self._followed(node, base)
        if node is None or depth > _DEEPEST:
            return found
        for key in ("allOf", "anyOf", "oneOf"):
            parts = node.get(key)
            for part in parts if isinstance(parts, list) else ():
                found |= self.fields(part, base, depth + 1)
        properties = node.get("properties")
        if isinstance(properties, dict):
            found |= {name: (item, base) for name, item in properties.items()}
        return found

    def is_file(self, node: Any, base: str, depth: int = 0) -> bool:
        """Whether it is a file, or a list of files."""
        node, base = self._followed(node, base)
        if node is None or depth > _DEEPEST:
            return False
        kind = node.get("type")
        text = kind == "string" or (isinstance(kind, list) and "string" in kind)
        if kind == "file" or (text and node.get("format") == "binary"):
            return True
        if self._document.version not in ("2.0", "3.0") and "contentMediaType" in node:
            return (text or kind is None) and "contentEncoding" not in node
        parts = [node["items"]] if "items" in node and (kind == "array" or kind is None) else []
        for key in ("allOf", "anyOf", "oneOf"):
            parts += node[key] if isinstance(node.get(key), list) else []
        return any(self.is_file(part, base, depth + 1) for part in parts)

    def _followed(self, node: Any, base: str) -> tuple[Any, str]:
        """What is at the end of a reference, None for what is no object or comes too late."""
        self._left -= 1
        if self._left < 0:
            return None, base
        node, base = self._document.followed(node, base)
        return (node if isinstance(node, dict) else None), base


def _encodings(given: Any, kind: Kind) -> dict[str, Encoding]:
    if not isinstance(given, dict) or kind not in ("form", "multipart"):
        return {}
    found = {}
    for name, node in given.items():
        if not isinstance(node, dict):
            continue
        style = node.get("style")
        styled = {"explode", "allowReserved", "style"} & node.keys()
        known = style if isinstance(style, str) else "form" if styled else None
        explode = node.get("explode")
        found[name] = Encoding(
            content_type=_one_type(node.get("contentType")),
            style=known,
            explode=explode if isinstance(explode, bool) else known in (None, "form"),
            allow_reserved=node.get("allowReserved") is True,
        )
    return found


def _one_type(said: Any) -> str | None:
    """The first of the media types that a field may have, when it is a whole one."""
    if not isinstance(said, str):
        return None
    first = said.partition(",")[0].strip()
    return first if _MEDIA_TYPE.fullmatch(first) and "*" not in first else None
