"""What is refused before a call is one."""

from __future__ import annotations

from enclave_broker_core.errors import CallError

RETRY_AFTER = 1.0


class TooManyCallsError(CallError):
    """The client has too many calls under way; ``retry_after`` says when to try again."""

    code = "TOO_MANY_CALLS"
    retryable = True
