"""Answers that are one JSON document."""

from __future__ import annotations

from typing import Any

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.json_form import NotJsonError, parse

from .errors import ConnectionLostError, ProtocolError
from .refusals import Refusal, refusal
from .retrying import Retrying
from .settings import ClientSettings
from .steps import Close, Open, Read, Steps


def asked(
    request: Open,
    settings: ClientSettings,
    *,
    missing: type[BrokerError] | None = None,
    repeat: bool = True,
) -> Steps[Any | Refusal]:
    """What the server says: a JSON value, or a refusal.

    When the connection is lost it is asked again, unless it must not be asked twice (not
    ``repeat``) and may have heard it. ``missing`` is the error of a 404.
    """
    retrying = Retrying(settings)
    while True:
        try:
            head = yield request
            body = yield from whole(settings.max_answer_bytes)
        except ConnectionLostError as lost:
            yield Close()
            if lost.sent and not repeat:
                raise
            yield from retrying.after(lost)
            continue
        if not 200 <= head.status < 300:
            return refusal(head.status, head.headers, body, missing)
        try:
            return parse(body)
        except NotJsonError as problem:
            raise ProtocolError(f"the server's answer is {problem}") from None


def whole(most: int) -> Steps[bytes]:
    """The rest of an answer. ProtocolError when it is larger than ``most`` bytes."""
    chunks: list[bytes] = []
    size = 0
    while chunk := (yield Read()):
        size += len(chunk)
        if size > most:
            raise ProtocolError(f"the server's answer is larger than {most} bytes")
        chunks.append(chunk)
    yield Close()
    return b"".join(chunks)
