"""Reads a request's body: bounded in size, in depth and in the time that it may take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.types import Receive, Scope

from enclave_broker_core.guard import Guarded, LateError, guard_class
from enclave_broker_core.json_form import NotJsonError, parse

from .answers import HttpError
from .settings import DoorLimits

JSON = b"application/json"
HEADERS = "enclave.headers"


async def json_body(scope: Scope, receive: Receive, limits: DoorLimits) -> Any:
    """The body as JSON. HttpError 415 for what is not sent as JSON, and as ``any_json``."""
    require_json(scope)
    return await any_json(scope, receive, limits)


async def any_json(scope: Scope, receive: Receive, limits: DoorLimits) -> Any:
    """The body as JSON, whatever its type says; None when it is empty.

    HttpError 400 for what is not JSON, 413 for more than is allowed, 408 when it is slow.
    """
    raw = await _read(scope, receive, limits)
    if not raw or raw.isspace():
        return None
    return from_text(raw, limits, "the body")


def from_text(text: bytes | str, limits: DoorLimits, what: str) -> Any:
    """JSON text as a value; HttpError 400 for what is none, or is nested too deep."""
    try:
        value = parse(text)
    except NotJsonError as problem:
        raise HttpError(400, f"{what} is {problem}") from None
    most = limits.max_json_depth
    if _brackets(text) > most and _deeper(value, most):
        raise HttpError(400, f"{what} is nested deeper than {limits.max_json_depth} levels")
    return value


def require_json(scope: Scope) -> None:
    """HttpError 415 when the request does not say that its body is JSON."""
    sent = header(scope, b"content-type") or b""
    if sent == JSON:
        return
    kind = sent.partition(b";")[0].strip().lower()
    if kind != JSON and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise HttpError(415, "send the body as Content-Type: application/json")


def index_headers(scope: Scope) -> None:
    """Have ``header`` find what it is asked for without a look at all the others."""
    scope[HEADERS] = dict(reversed(scope["headers"]))


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of this name, which is in lower case. For use behind the door."""
    sent: bytes | None = scope[HEADERS].get(name)
    return sent


async def _read(scope: Scope, receive: Receive, limits: DoorLimits) -> bytes:
    most = limits.max_body_bytes
    announced = header(scope, b"content-length")
    if announced is not None and announced.isdigit() and int(announced[:20]) > most:
        raise _too_large(most)
    # A body that is there already, as most are, costs no timer.
    coming = guard_class()(_whole(receive, most), Guarded(), limits.body_timeout)
    try:
        whole: bytes = await coming
    except LateError:
        seconds = limits.body_timeout
        raise HttpError(
            408, f"the body did not come in {seconds:g} s", headers=[(b"connection", b"close")]
        ) from None
    return whole


async def _whole(receive: Receive, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        if chunk:
            chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class Gone(Exception):
    """The client went away before its request was whole: nobody is there to be answered."""


def _too_large(most: int) -> HttpError:
    # What is still to come is not read: the connection can't be used again.
    return HttpError(
        413, f"the body is larger than {most} bytes", headers=[(b"connection", b"close")]
    )


def _brackets(text: bytes | str) -> int:
    """How many lists and objects there are at the most: what is nested in them is no deeper."""
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


def _deeper(value: Any, most: int) -> bool:
    """Whether lists and objects are nested in each other more than ``most`` levels deep."""
    level = [value]
    for _ in range(most + 1):
        level = [item for held in level for item in _held(held)]
        if not level:
            return False
    return True


def _held(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
