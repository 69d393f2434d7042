"""What goes wrong between a client and its server, besides what the broker's own errors say."""

from __future__ import annotations

from collections.abc import Sequence

from enclave_broker_core.errors import BrokerError, Detail


class ClientError(BrokerError):
    """The root of what is wrong with the connection, the server or its answers."""

    code = "CLIENT_ERROR"


class ConnectionLostError(ClientError):
    """There is no answer, or the connection broke before it was whole.

    ``sent`` says whether the server may have got the request.
    """

    code = "CONNECTION_LOST"
    retryable = True

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class ProtocolError(ClientError):
    """The server sent what the protocol does not know, or more than is taken."""

    code = "PROTOCOL_ERROR"


class MissingEventsError(ProtocolError):
    """A stream left events out: those from ``first`` to ``last``."""

    code = "EVENTS_MISSING"

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last
        what = f"event {first} is" if first == last else f"events {first} to {last} are"
        super().__init__(f"{what} missing in the stream")


class ServerError(ClientError):
    """The server refused a request, with a code that the broker has no error for.

    ``code`` is the server's own, ``retry_after`` is in seconds. ``status`` is that of HTTP;
    None when it was told in an event or in the answer of a call.
    """

    code = "SERVER_ERROR"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        details: Sequence[Detail] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, details=details, retry_after=retry_after)
        self.status = status
        if code is not None:
            self.code = code  # type: ignore[misc]  # each of these has its own


class InvalidRequestError(ServerError):
    """The request, its limits or its filter are wrong, or larger than the server takes."""

    code = "INVALID_REQUEST"


class UnauthenticatedError(ServerError):
    """The server does not know who calls: no token, or one that is not valid."""

    code = "UNAUTHENTICATED"


class ForbiddenError(ServerError):
    """Who calls is known, and may not do this."""

    code = "FORBIDDEN"


class ConflictError(ServerError):
    """It does not go with what there is: the session has ended or is busy, a key was used."""

    code = "CONFLICT"


class UnavailableError(ServerError):
    """The server takes nothing now; ``retry_after`` says when to try again."""

    code = "SERVICE_UNAVAILABLE"
    retryable = True
