"""The headers of a request and of an answer: what may be in them, and how many there may be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

from enclave_broker_core.errors import ArgumentsError

from .errors import BrokenAnswerError, RefusedError
from .messages import OutboundRequest, Pairs
from .urls import Url

MOST_HEADERS = 200
MOST_HEADER_BYTES = 64 * 1024
USER_AGENT = "enclave-broker"

# Of the connection, and not of the request: who could set them could make two requests of one.
OF_THE_CONNECTION = frozenset(
    {
        *("accept-encoding", "connection", "content-length", "expect", "host", "keep-alive"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    }
)
# A request that may have a body says so even if it has none.
WITH_A_BODY = frozenset({"POST", "PUT", "PATCH"})

_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_VALUE = re.compile(r"(?:[!-~](?:[!-~ \t]*[!-~])?)?")


def may_set(name: str) -> bool:
    """Whether a request may have a header of this name."""
    return _NAME.fullmatch(name) is not None and name.lower() not in OF_THE_CONNECTION


def _settable(name: str) -> str:
    if not may_set(name):
        raise ValueError(f"{name!r} is not the name of a header that can be set")
    return name


HeaderName = Annotated[str, AfterValidator(_settable)]
"""The name of a header in a configuration model."""


def header_value(value: str, *, argument: str) -> str:
    """A value as it can stand in a header.

    ArgumentsError for line breaks and other control characters, for what is not ASCII, and
    for spaces at its ends, which would not arrive.
    """
    if _VALUE.fullmatch(value) is None:
        reason = "it has line breaks, characters that are not ASCII, or spaces at its ends"
        raise ArgumentsError(
            f"the argument {argument} can't stand in a header: {reason}",
            fields=[(argument, reason)],
        )
    return value


def request_headers(request: OutboundRequest, url: Url, encodings: str) -> list[tuple[str, str]]:
    """All headers of a request. RefusedError for a method or a header that can't be sent."""
    host = url.origin.host
    if _METHOD.fullmatch(request.method) is None or request.method == "CONNECT":
        raise RefusedError("the request's method is none that can be sent", host=host)
    headers = [("Host", url.origin.authority), ("Accept-Encoding", encodings)]
    seen = set()
    for name, value in request.headers:
        if not may_set(name) or _VALUE.fullmatch(value) is None:
            shown = name if _NAME.fullmatch(name) else "with no proper name"
            raise RefusedError(f"the request's header {shown} can't be sent", host=host)
        headers.append((name, value))
        seen.add(name.lower())
    if "user-agent" not in seen:
        headers.append(("User-Agent", USER_AGENT))
    if "accept" not in seen:
        headers.append(("Accept", "*/*"))
    if request.body is not None or request.method in WITH_A_BODY:
        headers.append(("Content-Length", str(len(request.body or b""))))
    return headers


def response_headers(raw: Sequence[tuple[bytes, bytes]], host: str) -> Pairs:
    """The headers of an answer, names in lower case. BrokenAnswerError for too many."""
    size = sum(len(name) + len(value) for name, value in raw)
    if len(raw) > MOST_HEADERS or size > MOST_HEADER_BYTES:
        raise BrokenAnswerError(f"the answer of {host} has too many headers", host=host)
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw)
