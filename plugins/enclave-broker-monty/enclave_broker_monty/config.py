"""What can be configured under ``[runtime]`` with ``use = "monty"``."""

from __future__ import annotations

import os

from pydantic import Field

from enclave_broker_core.models import Count, Frozen, Seconds


def _one_for_each_processor() -> int:
    return os.cpu_count() or 1


class MontyConfig(Frozen):
    """The pool of workers and what one run may use. Times are in seconds.

    ``workers`` processes run code, one run each; ``queue_wait`` is how long a run waits
    for one before it is told that the sandbox is busy. ``max_processor_time`` bounds the
    time that a run computes (the time that it waits for tools does not count; a session's
    ``run_timeout`` bounds both), ``max_turn_time`` the time between two tool calls.
    ``max_suspensions`` is the number of tool calls, sleeps and imports of tools in a run.
    A run that has waited ``park_after`` seconds for tools gives its worker to others.

    ``type_check`` refuses code that misuses a tool before any of it runs. It is off unless
    asked for: it adds 7 to 30 ms to each run, which is several times what the run of a
    short script costs, and a static checker also refuses some code that would have worked.
    """

    workers: Count = Field(default_factory=_one_for_each_processor)
    queue_wait: Seconds = 5.0
    max_processor_time: Seconds = 30.0
    max_turn_time: Seconds | None = None
    max_recursion_depth: Count = 500
    max_suspensions: Count = 10_000
    park_after: Seconds | None = 1.0
    type_check: bool = False
