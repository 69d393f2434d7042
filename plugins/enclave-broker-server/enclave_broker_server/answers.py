"""JSON answers, and what each error is over HTTP."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from enclave_broker_core.errors import (
    AccessDeniedError,
    AlreadyAnsweredError,
    ArgumentsError,
    BrokerError,
    CallNotFoundError,
    LimiterError,
    RateLimitedError,
    ResultTooLargeError,
    RunError,
    RuntimeBusyError,
    SessionError,
    SessionExistsError,
    SessionLostError,
    SessionNotFoundError,
    StoreError,
    TooManyClaimsError,
    TooManySessionsError,
    UnknownToolError,
)

Header = tuple[bytes, bytes]

# The kinds of errors over HTTP: the first that an error is an instance of counts.
_KINDS: tuple[tuple[type[BrokerError], int, str], ...] = (
    (SessionNotFoundError, 404, "NOT_FOUND"),
    (CallNotFoundError, 404, "NOT_FOUND"),
    (UnknownToolError, 404, "NOT_FOUND"),
    (SessionExistsError, 409, "CONFLICT"),
    (AlreadyAnsweredError, 409, "CONFLICT"),
    (RuntimeBusyError, 409, "CONFLICT"),
    (TooManySessionsError, 429, "RATE_LIMITED"),
    (TooManyClaimsError, 429, "RATE_LIMITED"),
    (RateLimitedError, 429, "RATE_LIMITED"),
    (SessionLostError, 409, "SESSION_LOST"),
    (SessionError, 409, "CONFLICT"),
    (StoreError, 503, "SERVICE_UNAVAILABLE"),
    (LimiterError, 503, "SERVICE_UNAVAILABLE"),
    (AccessDeniedError, 403, "FORBIDDEN"),
    (ArgumentsError, 400, "INVALID_REQUEST"),
    (ResultTooLargeError, 413, "PAYLOAD_TOO_LARGE"),
    (RunError, 400, "INVALID_REQUEST"),
)
CODES: Mapping[int, str] = {
    400: "INVALID_REQUEST",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "TIMEOUT",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    414: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    421: "MISDIRECTED_REQUEST",
    426: "UPGRADE_REQUIRED",
    429: "RATE_LIMITED",
    431: "PAYLOAD_TOO_LARGE",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
}
RETRY_LATER = 5.0


class HttpError(Exception):
    """A request that is refused: ``status``, and ``{code, message, details?}`` as its body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        details: Iterable[dict[str, Any]] = (),
        retry_after: float | None = None,
        headers: Iterable[Header] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or CODES[status]
        self.message = message
        self.details = list(details)
        self.retry_after = retry_after
        if retry_after is None and status in (429, 503):
            self.retry_after = RETRY_LATER
        self.headers = list(headers)

    @classmethod
    def of(cls, error: BrokerError) -> HttpError:
        """What a broker's error is over HTTP; the unexpected is a 500 that says nothing."""
        status = getattr(error, "status", None)
        if isinstance(status, int) and status in CODES:
            return cls(
                status,
                error.message,
                code=error.code,
                details=error.details,
                retry_after=error.retry_after,
            )
        for kind, status, code in _KINDS:
            if isinstance(error, kind):
                return cls(
                    status,
                    error.message,
                    code=code,
                    details=error.details,
                    retry_after=error.retry_after,
                )
        return cls(503, "the broker can't do this now", details=error.details)

    @property
    def body(self) -> dict[str, Any]:
        said: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details:
            said["details"] = self.details
        return said

    def answer(self) -> Answer:
        headers = list(self.headers)
        if self.retry_after is not None and math.isfinite(self.retry_after):
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(self.retry_after))))
        return Answer(self.body, self.status, headers)


class Answer:
    """A JSON answer, written at once; of bytes, which are JSON text already, as they are.

    One of status 204 has neither a body nor headers about one.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, value: Any = None, status: int = 200, headers: Iterable[Header] = ()
    ) -> None:
        self.status = status
        if status == 204:
            self.body = b""
            self.headers = [(b"cache-control", b"no-store"), *headers]
            return
        self.body = value if isinstance(value, bytes) else json_bytes(value)
        self.headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"no-store"),
            *headers,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def json_bytes(value: Any) -> bytes:
    """JSON text of any value in JSON form, also with integers of more than 64 bits."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return to_json(value)
