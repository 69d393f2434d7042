"""What can be configured under ``[runtime]`` with ``use = "quickjs"``."""

from __future__ import annotations

import os

from pydantic import Field

from enclave_broker_core.models import Count, Frozen, Seconds


def _one_for_each_processor() -> int:
    return os.cpu_count() or 1


class QuickJSConfig(Frozen):
    """The pool of workers and what one run may use. Times are in seconds."""

    workers: Count = Field(default_factory=_one_for_each_processor)
    """Processes that run code, one run each; one for each processor unless given."""
    queue_wait: Seconds = 5.0
    """How long a run waits for a worker before it is told that the sandbox is busy."""
    max_processor_time: Seconds = 30.0
    """How long a run may compute. The time that it waits for tools does not count; a session's
    ``run_timeout`` bounds both."""
    max_calls: Count = 10_000
    """Tool calls in a run, awaited or not."""
    park_after: Seconds | None = 1.0
    """A run that has waited so long for tools gives its worker to others."""
