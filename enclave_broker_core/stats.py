"""What a broker and its parts count, for operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@runtime_checkable
class Counting(Protocol):
    """A part that counts: a runtime may, to show how its workers are doing."""

    def counts(self) -> Mapping[str, int]:
        """A few numbers by fixed names, as they are now.

        A runtime has ``workers``, all that it may use; ``busy``, of which this many run code; and
        ``waiting``, the runs that none was free for.
        """


@dataclass(frozen=True, slots=True)
class BrokerStats:
    """What there is now, and counts since the broker opened.

    ``sessions`` is how many of this process's are in each state, ``queues`` how much waits in
    each queue, ``runtimes`` what each runtime that is ``Counting`` counts.
    """

    open_sessions: int
    tools: int
    calls: int
    failed_calls: int
    abandoned_threads: int
    abandoned_handlers: int
    dropped_observations: int
    sessions: Mapping[str, int] = field(default_factory=dict)
    queues: Mapping[str, int] = field(default_factory=dict)
    runtimes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
