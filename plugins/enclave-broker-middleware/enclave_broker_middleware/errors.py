"""The errors of calls that a middleware does not pass on."""

from __future__ import annotations

from enclave_broker_core.errors import CallError


class CircuitOpenError(CallError):
    """The tool failed too often of late; ``retry_after`` says when it is tried again."""

    code = "CIRCUIT_OPEN"
    retryable = True


class TooManyCallsError(CallError):
    """As many calls as may are under way, and no place came free in time."""

    code = "TOO_MANY_CALLS"
    retryable = True
