"""One tree of errors, each with a stable code.

A caller catches the class, a client reads the code, an agent reads the message.
Messages never hold a traceback or a secret.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

Detail = dict[str, Any]


class BrokerError(Exception):
    """The root of all errors that this software raises on purpose.

    ``code`` is stable, ``message`` is for people, ``details`` are items of the wire
    protocol (``retry_info``, ``validation_info``…), ``retry_after`` is in seconds.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        details: Sequence[Detail] = (),
        retry_after: float | None = None,
    ) -> None:
        if not message.isascii():
            message = message.encode("utf-8", "replace").decode()  # what JSON can hold
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.details: tuple[Detail, ...] = tuple(details)
        if retry_after is not None and math.isfinite(retry_after):
            retry = {"type": "retry_info", "retryDelayMs": max(0, math.ceil(retry_after * 1000))}
            self.details += (retry,)

    def to_wire(self) -> dict[str, Any]:
        """The error as JSON: ``{code, message, details?}``."""
        wire: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details:
            wire["details"] = [dict(item) for item in self.details]
        return wire

    def __reduce__(self) -> tuple[Any, ...]:
        # Some kinds can't be made of their message alone, as a copy or a pickle would try.
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[BrokerError], args: tuple[Any, ...], state: dict[str, Any]) -> BrokerError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


# One call


class CallError(BrokerError):
    """One tool call failed; the session and the broker go on."""


class UnknownToolError(CallError):
    """No tool of this name is in the caller's reach."""

    code = "UNKNOWN_TOOL"


class ArgumentsError(CallError):
    """The arguments do not fit the tool's schema; ``fields`` says which and why."""

    code = "VALIDATION_ERROR"

    def __init__(self, message: str, *, fields: Sequence[tuple[str, str]] = ()) -> None:
        self.fields = tuple(fields)
        super().__init__(
            message,
            details=[
                {"type": "validation_info", "field": field, "reason": reason}
                for field, reason in self.fields
            ],
        )


class AccessDeniedError(CallError):
    """The policy does not let this caller use this tool."""

    code = "ACCESS_DENIED"


class ApprovalRequiredError(CallError):
    """The policy wants somebody's approval and nobody is there to give it."""

    code = "APPROVAL_REQUIRED"


class RateLimitedError(CallError):
    """A window is full; ``retry_after`` says when it has room again."""

    code = "RATE_LIMITED"
    retryable = True

    def __init__(
        self, message: str, *, scope: str, limit: int, retry_after: float, used: int | None = None
    ) -> None:
        self.scope = scope
        self.limit = limit
        quota = {"type": "quota_info", "limit": limit, "used": limit if used is None else used}
        super().__init__(message, details=[quota], retry_after=retry_after)


class ToolTimeoutError(CallError):
    """The tool did not answer within its own time."""

    code = "TOOL_TIMEOUT"
    retryable = True


class DeadlineExceededError(CallError):
    """The time of the call or of the run is over, whatever the tool's own time was."""

    code = "DEADLINE_EXCEEDED"


class MaxToolCallsError(CallError):
    """The session has made all the attempts that it may make."""

    code = "MAX_TOOL_CALLS"


class ResultTooLargeError(CallError):
    """A result or an output is larger than the session allows."""

    code = "RESULT_TOO_LARGE"


class SecretError(CallError):
    """A secret that a tool or the configuration names can't be had."""

    code = "SECRET_ERROR"


class ToolError(CallError):
    """The tool itself failed; the message is the tool's own."""

    code = "TOOL_ERROR"


# Sessions


class SessionError(BrokerError):
    """Something about a session, not about one call."""


class SessionNotFoundError(SessionError):
    """No such session, or it belongs to somebody else: both look the same."""

    code = "SESSION_NOT_FOUND"


class SessionExistsError(SessionError):
    """The session id that was asked for is taken."""

    code = "SESSION_EXISTS"


class SessionEndedError(SessionError):
    """The session has completed and takes nothing more."""

    code = "SESSION_ENDED"


class SessionCancelledError(SessionError):
    """The session was cancelled."""

    code = "SESSION_CANCELLED"


class SessionExpiredError(SessionError):
    """The session's lifetime or its idle time is over."""

    code = "SESSION_EXPIRED"


class SessionLostError(SessionError):
    """The process that ran the session died, or this one has lost it to another."""

    code = "SESSION_LOST"


class TooManySessionsError(SessionError):
    """All places for open sessions are taken; ``retry_after`` says when to try again."""

    code = "TOO_MANY_SESSIONS"
    retryable = True


class CallNotFoundError(SessionError):
    """No call of this id waits for its client's answer."""

    code = "CALL_NOT_FOUND"


class AlreadyAnsweredError(SessionError):
    """The client has answered this call before."""

    code = "ALREADY_ANSWERED"


class MailboxFullError(SessionError):
    """Too many outgoing messages wait and nobody reads them."""

    code = "MAILBOX_FULL"


class KeyReusedError(SessionError):
    """The idempotency key was used for another request before."""

    code = "KEY_REUSED"


class TooManyClaimsError(SessionError):
    """The session has too many idempotency keys under way; ``retry_after`` says when to try."""

    code = "TOO_MANY_CLAIMS"
    retryable = True


class StillUnderWayError(SessionError):
    """The first request with this idempotency key has no answer yet; ask again later."""

    code = "STILL_UNDER_WAY"
    retryable = True


def ended_by(ending: BrokerError | None) -> BrokerError:
    """The error of what is asked of a session that ended, or is ending, because of another."""
    if ending is None:
        return SessionEndedError("the session has ended")
    if isinstance(ending, SessionError):
        return type(ending)(ending.message)
    return SessionEndedError(f"the session has ended: {ending.message}")


REFUSALS = (
    AccessDeniedError,
    ApprovalRequiredError,
    ArgumentsError,
    MaxToolCallsError,
    RateLimitedError,
    UnknownToolError,
)


def outcome_of(failure: BrokerError) -> Literal["refused", "cancelled", "error"]:
    """What became of a call that ended with this error."""
    if isinstance(failure, REFUSALS):
        return "refused"
    return "cancelled" if isinstance(failure, SessionError) else "error"


# The backends


class StoreError(BrokerError):
    """The store can't be reached or does not work; ``retry_after`` says when to try again."""

    code = "STORE_UNAVAILABLE"
    retryable = True


class LimiterError(BrokerError):
    """A call could not be counted, though the store works; ``retry_after`` says when to try."""

    code = "LIMITER_UNAVAILABLE"
    retryable = True


# Code that agents write


class RunError(BrokerError):
    """The agent's code failed, or broke a limit of its sandbox."""

    code = "RUNTIME_ERROR"


class RuntimeBusyError(BrokerError):
    """Every worker of the sandbox is taken; ``retry_after`` says when to try again."""

    code = "RUNTIME_BUSY"
    retryable = True


# Setting up


class PluginError(BrokerError):
    """A plugin did not load or did not keep its contract; the message names it."""

    code = "PLUGIN_ERROR"


class ConfigError(BrokerError):
    """The configuration is wrong; ``problems`` holds every mistake with its place."""

    code = "CONFIG_ERROR"

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems) or (message,)
        super().__init__(message)
