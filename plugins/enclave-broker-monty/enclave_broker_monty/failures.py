"""What went wrong in the sandbox, as the broker's errors."""

from __future__ import annotations

from pydantic_monty import (
    MontyCrashedError,
    MontyError,
    MontyRuntimeError,
    MontyTypingError,
    ResourceLimits,
)

from enclave_broker_core.errors import BrokerError, DeadlineExceededError, RunError

MAX_MESSAGE = 8 * 1024


def explain(error: MontyError, limits: ResourceLimits) -> BrokerError:
    """The error that the caller of ``run`` gets. Its message ends with the sandbox's text."""
    if isinstance(error, MontyCrashedError):
        if error.timed_out:
            return DeadlineExceededError(
                "the code used more processor time than a run may, and could not be stopped "
                "without its worker"
            )
        return RunError("the sandbox's worker died in this run; what ran before is kept")
    if isinstance(error, MontyTypingError):
        return RunError(_shortened(f"the type checker refused the code:\n{error.display()}"))
    text = _shortened(error.display() if isinstance(error, MontyRuntimeError) else _shown(error))
    match _limit_hit(error, limits):
        case "time":
            return DeadlineExceededError(f"the code used more processor time than it may: {text}")
        case "memory":
            return RunError(f"the code broke the sandbox's memory limit:\n{text}")
        case "suspensions":
            count = limits.get("max_suspensions")
            return RunError(f"the code broke the limit of {count} host calls in a run:\n{text}")
    if isinstance(error.exception(), RecursionError):
        depth = limits.get("max_recursion_depth")
        return RunError(f"the code broke the recursion limit of {depth}:\n{text}")
    if isinstance(error.exception(), NotImplementedError):
        return RunError(f"the sandbox's Python can't run this code:\n{text}")
    return RunError(text)


def heap_is_sound(error: MontyError, limits: ResourceLimits) -> bool:
    """Whether the state after ``error`` can be kept.

    It can after an exception of the code. It can't when a limit stopped the sandbox in
    the middle of something, or when the worker is gone.
    """
    return isinstance(error, MontyRuntimeError) and _limit_hit(error, limits) is None


def _limit_hit(error: MontyError, limits: ResourceLimits) -> str | None:
    if not isinstance(error, MontyRuntimeError):
        return None
    inner = error.exception()
    # A limit on time has no traceback: this tells it from a TimeoutError that code raised.
    if isinstance(inner, TimeoutError) and not error.traceback():
        return "time"
    if isinstance(inner, MemoryError):
        return "memory"
    if str(inner) == f"suspension limit {limits.get('max_suspensions')} exceeded":
        return "suspensions"
    return None


def _shown(error: MontyError) -> str:
    display = getattr(error, "display", None)
    return str(display()) if display is not None else str(error)


def _shortened(text: str) -> str:
    """The beginning and the end: the exception is at the end, and it may be of any size."""
    if len(text) <= MAX_MESSAGE:
        return text
    half = MAX_MESSAGE // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
