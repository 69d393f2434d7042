"""The body of a request, from texts of the configuration and arguments of the call."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote_plus

from pydantic_core import to_json

from enclave_broker_core.errors import ArgumentsError

from .texts import MISSING, Text, Values


class Body(NamedTuple):
    """What is sent, and what it is."""

    content: bytes
    content_type: str


class BodyMaker(Protocol):
    """Makes the body of each call."""

    def places(self) -> Iterator[Text]:
        """All texts in it that have places."""

    def make(self, values: Values) -> Body | None:
        """None when the argument that is the body was not given."""


class JsonBody:
    """Any JSON value, whose texts have places. Members that have no value are left out."""

    def __init__(self, template: Any) -> None:
        self._texts: list[Text] = []
        self._template = self._prepared(template)

    def _prepared(self, value: Any) -> Any:
        if isinstance(value, str):
            self._texts.append(Text(value))
            return self._texts[-1]
        if isinstance(value, dict):
            return {name: self._prepared(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._prepared(item) for item in value]
        return value

    def places(self) -> Iterator[Text]:
        return iter(self._texts)

    def make(self, values: Values) -> Body | None:
        value = _filled(self._template, values)
        return None if value is MISSING else Body(to_json(value), "application/json")


def _filled(template: Any, values: Values) -> Any:
    if isinstance(template, Text):
        return template.value(values)
    if isinstance(template, dict):
        filled = {name: _filled(item, values) for name, item in template.items()}
        return {name: value for name, value in filled.items() if value is not MISSING}
    if isinstance(template, list):
        return [value for item in template if (value := _filled(item, values)) is not MISSING]
    return template


class FormBody:
    """Fields as a browser sends them from a form."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = {name: Text(text) for name, text in fields.items()}

    def places(self) -> Iterator[Text]:
        return iter(self._fields.values())

    def make(self, values: Values) -> Body:
        said = "&".join(
            f"{quote_plus(name)}={quote_plus(value)}"
            for name, text in self._fields.items()
            for value in text.texts(values)
        )
        return Body(said.encode(), "application/x-www-form-urlencoded")


class TextBody:
    """One text."""

    def __init__(self, text: str) -> None:
        self._text = Text(text)

    def places(self) -> Iterator[Text]:
        yield self._text

    def make(self, values: Values) -> Body | None:
        said = self._text.text(values)
        return None if said is MISSING else Body(said.encode(), "text/plain; charset=utf-8")


class BytesBody:
    """Bytes that are given in base64, as JSON can't hold them."""

    def __init__(self, text: str) -> None:
        self._text = Text(text)

    def places(self) -> Iterator[Text]:
        yield self._text

    def make(self, values: Values) -> Body | None:
        said = self._text.text(values)
        return None if said is MISSING else Body(_decoded(said, self._text), _BYTES)


class PartMaker:
    """One field of a multipart body: a text, or with ``filename`` a file."""

    def __init__(
        self,
        content: str,
        filename: str | None = None,
        content_type: str | None = None,
        base64: bool = False,
    ) -> None:
        self.content = Text(content)
        self.filename = None if filename is None else Text(filename)
        self._content_type = content_type
        self._base64 = base64

    def make(self, name: str, values: Values) -> Iterator[bytes]:
        filename = MISSING if self.filename is None else self.filename.text(values)
        lines = [f'Content-Disposition: form-data; name="{_escaped(name)}"']
        content_type = self._content_type
        if filename is not MISSING:
            lines[0] += f'; filename="{_escaped(filename)}"'
            content_type = content_type or _BYTES
        if content_type is not None:
            lines.append(f"Content-Type: {content_type}")
        head = "\r\n".join([*lines, "", ""]).encode()
        for text in self.content.texts(values):
            yield head + (_decoded(text, self.content) if self._base64 else text.encode())


class MultipartBody:
    """Fields and files, each a part of its own."""

    def __init__(self, parts: Mapping[str, PartMaker]) -> None:
        self._parts = parts

    def places(self) -> Iterator[Text]:
        for part in self._parts.values():
            yield part.content
            if part.filename is not None:
                yield part.filename

    def make(self, values: Values) -> Body:
        # Nobody who gives a content can guess it.
        boundary = secrets.token_hex(16)
        line = f"--{boundary}".encode()
        pieces = [
            line + b"\r\n" + part + b"\r\n"
            for name, maker in self._parts.items()
            for part in maker.make(name, values)
        ]
        content = b"".join(pieces) + line + b"--\r\n"
        return Body(content, f"multipart/form-data; boundary={boundary}")


_BYTES = "application/octet-stream"


def _decoded(said: str, text: Text) -> bytes:
    try:
        return base64.b64decode(said, validate=True)
    except (binascii.Error, ValueError):
        names = list(text.arguments)
        raise ArgumentsError(
            f"the argument {' and '.join(names)} must be base64",
            fields=[(name, "it must be base64") for name in names],
        ) from None


def _escaped(name: str) -> str:
    """As browsers write it, so that a name can't end what it stands in."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
