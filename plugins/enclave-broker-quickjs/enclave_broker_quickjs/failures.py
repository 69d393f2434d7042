"""How a run ended, as the broker's errors."""

from __future__ import annotations

from enclave_broker_core.errors import (
    BrokerError,
    DeadlineExceededError,
    ResultTooLargeError,
    RunError,
)
from enclave_broker_core.models import SessionLimits

from .quickjs_worker import frames

MAX_MESSAGE = 8 * 1024


def explain(ending: bytes, text: bytes, limits: SessionLimits, max_calls: int) -> BrokerError:
    """The error that the caller of ``run`` gets; its message ends with the sandbox's text."""
    shown = _shortened(text.decode("utf-8", "replace").rstrip())
    match ending:
        case frames.RAISED | frames.SYNTAX:
            return RunError(shown)
        case frames.NO_JSON:
            return RunError(f"the result of the run is no JSON: {shown}")
        case frames.STUCK:
            return RunError("the code waits for a promise that nothing can settle any more")
        case frames.TOO_LARGE:
            most = limits.max_result_bytes
            return ResultTooLargeError(f"the result of the run is longer than {most} bytes")
        case frames.TOO_MUCH_OUTPUT:
            most = limits.max_output_bytes
            return ResultTooLargeError(f"the code printed more than {most} bytes")
        case frames.TOO_MANY_CALLS:
            return RunError(f"the code broke the limit of {max_calls} tool calls in a run")
        case frames.OUT_OF_TIME:
            return DeadlineExceededError("the code used more processor time than a run may")
        case frames.OUT_OF_MEMORY:
            most = limits.max_memory_bytes
            return RunError(f"the code broke the sandbox's memory limit of {most} bytes")
        case frames.TOO_DEEP:
            return RunError("the code's calls, or its brackets, are nested too deep")
        case frames.NO_STATE:
            return RunError("this is not a saved state of this version of the quickjs runtime")
    return RunError("the sandbox broke in this run; what ran before is kept")


def _shortened(text: str) -> str:
    """The beginning, where the message is, and the end."""
    if len(text) <= MAX_MESSAGE:
        return text
    half = MAX_MESSAGE // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
