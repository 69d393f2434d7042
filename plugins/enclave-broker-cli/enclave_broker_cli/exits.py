"""What the program's exit code says, and how it leaves."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn

OK = 0
FAILED = 1  # the code or the call failed
WRONG = 2  # usage, configuration, plugins
LIMIT = 3  # no place, or a limit was hit: the same may work later or with other limits
SIGNAL = 128  # and the signal's number: 130 after Ctrl-C, 143 when terminated
NO_READER = 141  # nobody reads the output any more

_WRONG = frozenset(
    {"CONFIG_ERROR", "INVALID_REQUEST", "PLUGIN_ERROR", "SECRET_ERROR", "UNAUTHENTICATED"}
)
_LIMITS = frozenset(
    {
        "CIRCUIT_OPEN",
        "DEADLINE_EXCEEDED",
        "LIMITER_UNAVAILABLE",
        "MAX_TOOL_CALLS",
        "PAYLOAD_TOO_LARGE",
        "RATE_LIMITED",
        "RESULT_TOO_LARGE",
        "RUNTIME_BUSY",
        "SERVICE_UNAVAILABLE",
        "SESSION_EXPIRED",
        "STORE_UNAVAILABLE",
        "TOO_MANY_CALLS",
        "TOO_MANY_SESSIONS",
        "TOOL_TIMEOUT",
    }
)

# How long, in seconds, a thread may go on at the end before the program leaves without it.
PATIENCE = 1.0


def exit_code(error_code: str) -> int:
    """The exit code for an error's code."""
    if error_code in _WRONG:
        return WRONG
    return LIMIT if error_code in _LIMITS else FAILED


def leave(code: int) -> NoReturn:
    """End the program, also when a tool's thread refuses to end."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = NO_READER
        # Else the interpreter flushes it once more and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    busy = [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.daemon
    ]
    for thread in busy:
        thread.join(PATIENCE / len(busy))
    stuck = sum(thread.is_alive() for thread in busy)
    if stuck:
        what = "a handler does" if stuck == 1 else f"{stuck} handlers do"
        sys.stderr.write(f"enclave-broker: {what} not end; leaving without waiting\n")
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
