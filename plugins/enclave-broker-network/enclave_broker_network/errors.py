"""What goes wrong with a request to the outside. No message has a credential or a query in it."""

from __future__ import annotations

from enclave_broker_core.errors import CallError, ResultTooLargeError, ToolError, ToolTimeoutError


class OutboundError(CallError):
    """The root of what goes wrong on the way to another service and back.

    ``host`` is whom the request was for, as far as it is known.
    """

    code = "TOOL_ERROR"

    def __init__(self, message: str, *, host: str | None = None) -> None:
        super().__init__(message)
        self.host = host


class RefusedError(OutboundError, ToolError):
    """The guard does not let a request go there; the message says where and why."""


class UnreachableError(OutboundError, ToolError):
    """There is no connection: the name is not known, nobody listens, or TLS failed."""

    retryable = True


class UntrustedError(UnreachableError):
    """The service's certificate is not trusted, or is another's."""

    retryable = False


class BrokenAnswerError(OutboundError, ToolError):
    """The answer broke off, or is not what HTTP allows or the content's encoding says."""

    retryable = True


class OutboundTimeoutError(OutboundError, ToolTimeoutError):
    """A phase of the request, or all of it, took longer than it may."""

    code = "TOOL_TIMEOUT"
    retryable = True


class AnswerTooLargeError(OutboundError, ResultTooLargeError):
    """The answer is larger than is taken; the rest of it was not read."""

    code = "RESULT_TOO_LARGE"
