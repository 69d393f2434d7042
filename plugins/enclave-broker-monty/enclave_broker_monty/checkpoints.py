"""A durable run as it waits: its snapshot, and the calls that it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pydantic_monty
from pydantic_core import from_json, to_json

from enclave_broker_core.errors import RunError

from .saved_state import SavedState

MAGIC = b"enclave-monty-run-1"


@dataclass(frozen=True, slots=True)
class Awaited:
    """A call that the run waits for, by its number in the run.

    A tool's has a ``tool`` and its ``arguments`` in JSON form. A sleep has the time when it
    ``ends``, in seconds since the epoch. In a ``blocking`` one nothing of the run can go on.
    """

    number: int
    tool: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    ends: float = 0.0
    blocking: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``before`` is the state to keep when the run fails in a way that spoils its own."""

    snapshot: bytes = field(repr=False)
    before: SavedState
    has_prelude: bool
    awaited: Sequence[Awaited]

    def to_bytes(self) -> bytes:
        before = self.before.to_bytes()
        head = to_json(
            {
                "monty": pydantic_monty.__version__,
                "prelude": self.has_prelude,
                "before": len(before),
                "awaited": self.awaited,
            }
        )
        return b"".join([MAGIC, len(head).to_bytes(4, "big"), head, before, self.snapshot])

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """Take up what ``to_bytes`` gave, which is not authenticated; RunError for another
        version's: a snapshot is only for the version that made it."""
        start = len(MAGIC) + 4
        end = start + int.from_bytes(data[len(MAGIC) : start], "big")
        head = from_json(data[start:end])
        if head["monty"] != pydantic_monty.__version__:
            raise RunError(
                f"the run was saved by pydantic-monty {head['monty']}, and this is"
                f" {pydantic_monty.__version__}"
            )
        split = end + head["before"]
        return cls(
            data[split:],
            SavedState.from_bytes(data[end:split]),
            head["prelude"],
            [Awaited(**call) for call in head["awaited"]],
        )
