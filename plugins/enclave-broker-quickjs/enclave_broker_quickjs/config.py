"""What can be configured under ``[runtime]`` with ``use = "quickjs"``."""

from __future__ import annotations

import os

from pydantic import Field

from enclave_broker_core.models import Count, Frozen, Seconds


def _one_for_each_processor() -> int:
    return os.cpu_count() or 1


class QuickJSConfig(Frozen):
    """The pool of workers and what one run may use. Times are in seconds.

    ``workers`` processes run code, one run each; ``queue_wait`` is how long a run waits
    for one before it is told that the sandbox is busy. ``max_processor_time`` bounds the
    time that a run computes (the time that it waits for tools does not count; a session's
    ``run_timeout`` bounds both). ``max_calls`` is the number of tool calls in a run, awaited
    or not. A run that has waited ``park_after`` seconds for tools gives its worker to others.
    """

    workers: Count = Field(default_factory=_one_for_each_processor)
    queue_wait: Seconds = 5.0
    max_processor_time: Seconds = 30.0
    max_calls: Count = 10_000
    park_after: Seconds | None = 1.0
