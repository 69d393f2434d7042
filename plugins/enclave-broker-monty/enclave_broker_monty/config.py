"""What can be configured under ``[runtime]`` with ``use = "monty"``."""

from __future__ import annotations

import os

from pydantic import Field

from enclave_broker_core.models import Count, Frozen, Seconds


def _one_for_each_processor() -> int:
    return os.cpu_count() or 1


class MontyConfig(Frozen):
    """The pool of workers and what one run may use. Times are in seconds."""

    workers: Count = Field(default_factory=_one_for_each_processor)
    """Processes that run code, one run each; one for each processor unless given."""
    queue_wait: Seconds = 5.0
    """How long a run waits for a worker before it is told that the sandbox is busy."""
    max_processor_time: Seconds = 30.0
    """How long a run may compute. The time that it waits for tools does not count; a session's
    ``run_timeout`` bounds both."""
    max_turn_time: Seconds | None = None
    """How long it may compute between two tool calls."""
    max_recursion_depth: Count = 500
    """How deep calls of functions may be nested."""
    max_suspensions: Count = 10_000
    """Tool calls, sleeps and imports of tools in a run."""
    park_after: Seconds | None = 1.0
    """A run that has waited so long for tools gives its worker to others."""
    type_check: bool = False
    """Whether code that misuses a tool is refused before any of it runs.

    It is off unless asked for: it adds 7 to 30 ms to each run, which is several times what the
    run of a short script costs, and a static checker also refuses some code that would have
    worked.
    """
