"""Gets a document and what it refers to, from where they are, and knows whether they changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import anyio
import anyio.to_thread
from enclave_broker_network.messages import OutboundRequest
from enclave_broker_network.outbound import Outbound
from enclave_broker_network.urls import parse_url
from pydantic_core import to_json

from enclave_broker_core.errors import BrokerError

from .authorising import Shown
from .document import Document, Gathering
from .parsing import read
from .problems import DocumentError

_ACCEPT = "application/json, application/yaml;q=0.9, text/yaml;q=0.8, */*;q=0.5"


@dataclass(frozen=True, slots=True)
class Stamp:
    """By what a resource is known again."""

    digest: bytes
    etag: str | None = None
    modified: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A resource's bytes; none when it is as it was."""

    content: bytes | None
    stamp: Stamp


@dataclass(frozen=True)
class Loaded:
    """A whole document, and the stamps of all that it was made from."""

    document: Document
    stamps: Mapping[str, Stamp]
    left_out: Mapping[str, str] = field(default_factory=dict)


class Fetcher:
    """Reads URLs, through the guard, and files. Of a document that came from a URL nothing is
    read from files, and of a file nothing outside its folder.

    Credentials are shown to the origin of ``root`` only.
    """

    def __init__(self, outbound: Outbound, root: str, max_bytes: int) -> None:
        self._outbound = outbound
        self._root = root
        self._max_bytes = max_bytes

    async def load(self, given: Mapping[str, Any] | None, shown: Shown) -> Loaded:
        """The document and all that it refers to. ``given`` is itself the document.

        DocumentError, and what the guard raises, when the document can't be had or read; what
        it refers to is left out then.
        """
        stamps: dict[str, Stamp] = {}
        total = 0
        if given is None:
            fetched = await self._fetch(self._root, None, shown)
            content = fetched.content or b""
            total = self._counted(total, content)
            stamps[self._root] = fetched.stamp
            given = await anyio.to_thread.run_sync(read, content, "the document")
        else:
            given = await anyio.to_thread.run_sync(read, to_json(given), "the document")
        gathering = await anyio.to_thread.run_sync(Gathering, self._root, given)
        while missing := gathering.missing():
            for uri in missing:
                try:
                    fetched = await self._fetch(uri, None, shown)
                    content = fetched.content or b""
                    value = await anyio.to_thread.run_sync(read, content, "it")
                except BrokerError as problem:
                    gathering.leave_out(uri, problem.message)
                    continue
                total = self._counted(total, content)
                stamps[uri] = fetched.stamp
                gathering.add(uri, value)
        return Loaded(gathering.document(), stamps, dict(gathering.left_out))

    async def changed(self, stamps: Mapping[str, Stamp], shown: Shown) -> Mapping[str, Stamp]:
        """The newest stamps of all resources: equal digests say that nothing changed."""
        newest = {}
        for uri, stamp in stamps.items():
            newest[uri] = (await self._fetch(uri, stamp, shown)).stamp
        return newest

    def _counted(self, total: int, content: bytes) -> int:
        total += len(content)
        if total > self._max_bytes:
            raise DocumentError(f"it is larger than {self._max_bytes} bytes")
        return total

    async def _fetch(self, uri: str, known: Stamp | None, shown: Shown) -> Fetched:
        try:
            scheme = urlsplit(uri).scheme
        except ValueError:
            raise DocumentError(f"{uri[:200]!r} is no URL") from None
        if scheme in ("http", "https"):
            return await self._request(uri, known, shown)
        if scheme == "file" and self._root.startswith("file:"):
            content = await anyio.to_thread.run_sync(self._read_file, uri)
            return Fetched(content, Stamp(_digest(content)))
        raise DocumentError(f"{uri[:200]!r} is not read from here")

    async def _request(self, uri: str, known: Stamp | None, shown: Shown) -> Fetched:
        headers: list[tuple[str, str]] = [("Accept", _ACCEPT)]
        query: list[str] = []
        if self._same_origin(uri):
            headers += shown.headers
            query = shown.query
            if shown.cookies:
                headers.append(("Cookie", "; ".join(shown.cookies)))
        if known is not None and known.etag is not None:
            headers.append(("If-None-Match", known.etag))
        elif known is not None and known.modified is not None:
            headers.append(("If-Modified-Since", known.modified))
        url = uri if not query else f"{uri}{'&' if '?' in uri else '?'}{'&'.join(query)}"
        answer = await self._outbound.send(OutboundRequest("GET", url, tuple(headers)))
        if answer.status == 304 and known is not None:
            return Fetched(None, known)
        if answer.status != 200:
            raise DocumentError(f"its server answered {answer.status}")
        stamp = Stamp(_digest(answer.body), answer.header("etag"), answer.header("last-modified"))
        return Fetched(answer.body, stamp)

    def _same_origin(self, uri: str) -> bool:
        if not self._root.startswith("http"):
            return False
        return parse_url(uri).origin == parse_url(self._root).origin

    def _read_file(self, uri: str) -> bytes:
        try:
            path = path_of(uri).resolve()
            folder = path_of(self._root).resolve().parent
            if not path.is_relative_to(folder):
                raise DocumentError("it is outside of the document's folder")
            if not path.is_file():
                raise DocumentError("there is no such file")
            if path.stat().st_size > self._max_bytes:
                raise DocumentError(f"it is larger than {self._max_bytes} bytes")
            return path.read_bytes()
        except OSError as problem:
            raise DocumentError(f"it can't be read: {problem.strerror}") from None
        except ValueError:
            raise DocumentError("its path is none") from None


def path_of(uri: str) -> Path:
    """The path that a file's URI stands for."""
    return Path(url2pathname(unquote(urlsplit(uri).path)))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
