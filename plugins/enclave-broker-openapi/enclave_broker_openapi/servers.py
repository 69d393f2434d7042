"""Where the requests of an operation go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from .document import Document
from .problems import OperationError, shown
from .swagger import servers_of_2

_VARIABLE = re.compile(r"\{([^{}]+)\}")
# What may stand in a URL as it is: RFC 3986, and what is percent-encoded already.
URL_CHARACTERS = "%:/?#[]@!$&'()*+,;=~-._"


def server_of(
    document: Document,
    layers: list[Any],
    variables: Mapping[str, str],
    given: str | None,
    operation: Mapping[str, Any],
) -> str:
    """The URL that an operation's path is appended to; OperationError when there is none.

    ``layers`` are the ``servers`` of the operation, its path and the document, of which the
    first that is there counts. ``given`` is the configuration's and goes over all.
    """
    if given is not None:
        return given.rstrip("/")
    if document.version == "2.0":
        parts = urlsplit(document.base)
        place = (parts.scheme, parts.netloc) if parts.scheme in ("http", "https") else ("", "")
        found = servers_of_2(document.root, operation, place)
        if not found:
            raise OperationError("its document names no host; 'server' can")
        return _absolute(document, found[0])
    listed = next((one for one in layers if isinstance(one, list) and one), [{"url": "/"}])
    first = listed[0] if isinstance(listed[0], dict) else {}
    url = first.get("url")
    if not isinstance(url, str):
        raise OperationError("its server has no URL")
    return _absolute(document, _filled(url, first.get("variables"), variables))


def _filled(url: str, described: Any, given: Mapping[str, str]) -> str:
    described = described if isinstance(described, dict) else {}

    def value(match: re.Match[str]) -> str:
        name = match[1]
        about = described.get(name)
        about = about if isinstance(about, dict) else {}
        chosen = given.get(name, about.get("default"))
        if not isinstance(chosen, str | int | float) or isinstance(chosen, bool):
            raise OperationError(f"its server's variable {shown(name)} has no value")
        choices = about.get("enum")
        if isinstance(choices, list) and choices and str(chosen) not in map(str, choices):
            raise OperationError(f"its server's variable {shown(name)} can't be {shown(chosen)}")
        return str(chosen)

    return _VARIABLE.sub(value, url)


def _absolute(document: Document, url: str) -> str:
    try:
        joined = urljoin(document.base, url.strip())
        parts = urlsplit(joined)
    except ValueError:
        raise OperationError(f"its server {shown(url)} is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise OperationError(f"its server {shown(url)} is no URL to send requests to; 'server' can")
    plain = f"{parts.scheme}://{parts.netloc}{parts.path}"
    return quote(plain, safe=URL_CHARACTERS).rstrip("/")
