"""What the server says is wrong, as errors to catch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from enclave_broker_core import errors as core
from enclave_broker_core.errors import BrokerError, Detail
from enclave_broker_core.json_form import NotJsonError, parse

from .errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
)

LONGEST_TEXT = 4096
MOST_DETAILS = 100

# The errors of the broker, each with a code of its own.
BROKER: Mapping[str, type[BrokerError]] = {
    kind.code: kind
    for kind in vars(core).values()
    if isinstance(kind, type)
    and issubclass(kind, BrokerError)
    and kind is not BrokerError
    and "code" in vars(kind)
}
STATUSES: Mapping[int, type[ServerError]] = {
    400: InvalidRequestError,
    401: UnauthenticatedError,
    403: ForbiddenError,
    409: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    503: UnavailableError,
}

ErrorT = TypeVar("ErrorT", bound=BrokerError)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error; ``status`` is that of HTTP, or what it would have been."""

    status: int
    error: BrokerError


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, missing: type[BrokerError] | None
) -> Refusal:
    """What an answer with an error status says. ``missing`` is the error of a 404."""
    try:
        said = parse(body)
    except NotJsonError:
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("message"), str):
        # It may be of something in between, which does not speak the protocol.
        said = {"message": f"the server answered {status}"}
    after = _seconds(headers.get("retry-after"))
    if status == 404 and missing is not None:
        return Refusal(status, _made(missing, _text(said["message"]), (), after))
    return Refusal(status, error_of(said, status=status, retry_after=after))


def error_of(
    said: Mapping[str, Any], *, status: int | None = None, retry_after: float | None = None
) -> BrokerError:
    """``{code, message, details?}`` as an error: the broker's of this code, else a ServerError."""
    code, message = said.get("code"), _text(said.get("message"))
    details = _details(said.get("details"))
    if retry_after is None:
        retry_after = _delay(details)
    details = [item for item in details if item.get("type") != "retry_info"]
    kind = BROKER.get(code) if isinstance(code, str) else None
    if kind is not None:
        return _made(kind, message, details, retry_after)
    kind_of_status = ServerError if status is None else STATUSES.get(status, ServerError)
    return kind_of_status(
        message,
        status=status,
        code=code[:100] if isinstance(code, str) and code else None,
        details=details,
        retry_after=retry_after,
    )


def _made(
    kind: type[ErrorT], message: str, details: Sequence[Detail], retry_after: float | None
) -> ErrorT:
    """An error of a kind whose own way of being made wants what the wire does not have."""
    error = kind.__new__(kind, message)
    BrokerError.__init__(error, message, details=details, retry_after=retry_after)
    if isinstance(error, core.ArgumentsError):
        wrong = [item for item in details if item.get("type") == "validation_info"]
        error.fields = tuple((str(item.get("field")), str(item.get("reason"))) for item in wrong)
    elif isinstance(error, core.RateLimitedError):
        limits = [item.get("limit") for item in details if item.get("type") == "quota_info"]
        error.scope = ""
        error.limit = limits[0] if limits and isinstance(limits[0], int) else 0
    elif isinstance(error, core.ConfigError):
        error.problems = (message,)
    return error


def _text(value: Any) -> str:
    return value[:LONGEST_TEXT] if isinstance(value, str) else "the server does not say why"


def _details(value: Any) -> list[Detail]:
    items = value[:MOST_DETAILS] if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


def _delay(details: Sequence[Detail]) -> float | None:
    for item in details:
        delay = item.get("retryDelayMs")
        if item.get("type") == "retry_info" and isinstance(delay, int) and delay >= 0:
            return delay / 1000
    return None


def _seconds(text: str | None) -> float | None:
    """Of ``Retry-After``: a date is not looked at."""
    return float(text) if text is not None and text.isdecimal() and len(text) < 10 else None
