"""Bodies as they are sent, made of validated arguments."""

from __future__ import annotations

import binascii
import re
import secrets
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, NamedTuple

from enclave_broker_network.fields import header_value
from pydantic_core import to_json

from .bodies import Body, Encoding
from .styles import DELIMITERS, form_text, members_of, percent, styled_pairs, text_of, wrong

ARGUMENT = "body"
_PLAIN = Encoding()
_RESERVED = ":/?@!$'()*,;="
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(;[ -~]*)?")


class Encoded(NamedTuple):
    """A body and its Content-Type."""

    content: bytes
    content_type: str


class File(NamedTuple):
    """A file among the arguments."""

    content: bytes
    name: str | None
    content_type: str | None


def encode(body: Body, value: Any) -> Encoded:
    """The body for an argument that fits its schema; ArgumentsError when it can't be made."""
    if body.kind == "json":
        return Encoded(to_json(value), body.media_type)
    if body.kind == "lines":
        lines = [to_json(item) for item in value]
        before = b"\x1e" if "json-seq" in body.media_type else b""
        return Encoded(b"".join(before + line + b"\n" for line in lines), body.media_type)
    if body.kind == "form":
        return Encoded("&".join(_pairs(body, value)).encode(), body.media_type)
    if body.kind == "multipart":
        return _multipart(body, value)
    if body.kind == "text":
        return _text(body, text_of(value))
    file = file_of(value, ARGUMENT)
    return Encoded(file.content, file.content_type or body.media_type)


def _text(body: Body, text: str) -> Encoded:
    content_type = body.media_type
    if "charset=" not in content_type.lower():
        content_type = f"{content_type}; charset=utf-8"
        return Encoded(_bytes(text, ARGUMENT), content_type)
    charset = content_type.lower().partition("charset=")[2].partition(";")[0].strip(' "')
    try:
        return Encoded(text.encode(charset), content_type)
    except (LookupError, UnicodeError):
        raise wrong(ARGUMENT, f"it can't be written in {charset}") from None


def _pairs(body: Body, value: Any) -> Iterator[str]:
    """The ``key=value`` parts of an HTML form."""
    for name, item in value.items():
        encoding = body.encodings.get(name, _PLAIN)
        argument = f"{ARGUMENT}.{name}"
        key = form_text(name, argument)
        if item is None:
            continue
        if encoding.style is not None and encoding.style in (*DELIMITERS, "deepObject"):
            yield from _styled(encoding, key, item, argument)
        elif isinstance(item, list) and not _as_json(encoding):
            yield from (
                f"{key}={form_text(_field_text(part), argument)}"
                for part in item
                if part is not None
            )
        else:
            text = to_json(item).decode() if _as_json(encoding) else _field_text(item)
            yield f"{key}={form_text(text, argument)}"


def _styled(encoding: Encoding, key: str, item: Any, argument: str) -> list[str]:
    def encode(text: str, safe: str = _RESERVED if encoding.allow_reserved else "") -> str:
        return percent(text, argument, safe)

    return styled_pairs(encoding.style or "form", encoding.explode, key, item, encode)


def _field_text(item: Any) -> str:
    """A file in a form without parts can only be its text."""
    if isinstance(item, dict) and isinstance(item.get("text"), str) and item.keys() <= _OF_FILES:
        text: str = item["text"]
        return text
    return text_of(item)


_OF_FILES = frozenset({"base64", "text", "filename", "content_type"})


def _as_json(encoding: Encoding) -> bool:
    kind = encoding.content_type or ""
    return kind.startswith("application/json") or kind.endswith("+json")


# Forms with parts


def _multipart(body: Body, value: Any) -> Encoded:
    boundary = secrets.token_hex(16)
    content = bytearray()
    for name, item in value.items():
        for headers, part in _parts(body, name, item):
            content += f"--{boundary}\r\n".encode()
            content += "".join(f"{header}\r\n" for header in headers).encode()
            content += b"\r\n" + part + b"\r\n"
    content += f"--{boundary}--\r\n".encode()
    return Encoded(bytes(content), f"multipart/form-data; boundary={boundary}")


def _parts(body: Body, name: str, item: Any) -> Iterator[tuple[list[str], bytes]]:
    encoding = body.encodings.get(name, _PLAIN)
    argument = f"{ARGUMENT}.{name}"
    disposition = f'Content-Disposition: form-data; name="{_quoted(name, argument)}"'
    if item is None:
        return
    if encoding.style is not None and isinstance(item, list | dict) and name not in body.files:
        yield from _styled_parts(encoding, name, item, argument)
        return
    for one in item if isinstance(item, list) and not _as_json(encoding) else [item]:
        if one is None:
            continue
        if name in body.files:
            file = file_of(one, argument)
            kind = file.content_type or encoding.content_type or "application/octet-stream"
            filename = _quoted(file.name or name, argument)
            yield (
                [f'{disposition}; filename="{filename}"', f"Content-Type: {kind}"],
                file.content,
            )
        elif isinstance(one, list | dict) or _as_json(encoding):
            kind = encoding.content_type or "application/json"
            yield [disposition, f"Content-Type: {kind}"], to_json(one)
        else:
            about = [] if encoding.content_type is None else [encoding.content_type]
            yield (
                [disposition, *(f"Content-Type: {kind}" for kind in about)],
                _bytes(text_of(one), argument),
            )


def _styled_parts(
    encoding: Encoding, name: str, item: Any, argument: str
) -> Iterator[tuple[list[str], bytes]]:
    """Parts that a style names: nothing is percent-encoded in them."""
    if encoding.style == "deepObject" or not encoding.explode:
        pairs = [
            pair.partition("=")[::2]
            for pair in styled_pairs(
                encoding.style or "form", encoding.explode, name, item, lambda text, safe="": text
            )
        ]
        pairs = [(_without_percent(key), text) for key, text in pairs]
    elif isinstance(item, dict):
        pairs = members_of(item)
    else:
        pairs = [(name, text_of(one)) for one in item if one is not None]
    for key, text in pairs:
        quoted = _quoted(key, argument)
        yield [f'Content-Disposition: form-data; name="{quoted}"'], _bytes(text, argument)


def _without_percent(key: str) -> str:
    return key.replace("%5B", "[").replace("%5D", "]")


def _quoted(text: str, argument: str) -> str:
    """A name as browsers write it between quotes."""
    _bytes(text, argument)
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _bytes(text: str, argument: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise wrong(argument, "it has characters that UTF-8 can't hold") from None


def file_of(value: Any, argument: str) -> File:
    """The file that an argument stands for; ArgumentsError when it is none."""
    if not isinstance(value, dict):
        return File(_bytes(text_of(value), argument), None, None)
    kind = value.get("content_type")
    if kind is not None:
        header_value(kind, argument=argument)
        if _TYPE.fullmatch(kind) is None:
            raise wrong(argument, "its content_type is no media type")
    if "base64" in value:
        try:
            content = b64decode(value["base64"], validate=True)
        except (binascii.Error, ValueError):
            raise wrong(argument, "it is not base64") from None
    else:
        content = _bytes(str(value.get("text", "")), argument)
    return File(content, value.get("filename"), kind)
