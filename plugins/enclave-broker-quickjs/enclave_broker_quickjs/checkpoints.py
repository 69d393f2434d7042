"""A durable run as it waits: the state of its sandbox, and the calls that it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json, to_json

from enclave_broker_core.errors import RunError

MAGIC = b"enclave-quickjs-run-1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``before`` is the state to keep when the run fails in a way that spoils its own.

    ``build`` is the version of the sandbox. ``awaited`` has a number, a tool's name and its
    arguments for each call that the run waits for; ``made``, ``printed`` (bytes) and ``seconds``
    (of processor time that are left) are what its limits go on from.
    """

    build: bytes
    state: bytes = field(repr=False)
    before: bytes = field(repr=False)
    awaited: Sequence[tuple[int, str, dict[str, Any]]]
    made: int
    printed: int
    seconds: float

    def to_bytes(self) -> bytes:
        head = to_json(
            {
                "build": self.build.hex(),
                "before": len(self.before),
                "awaited": self.awaited,
                "made": self.made,
                "printed": self.printed,
                "seconds": self.seconds,
            }
        )
        return b"".join([MAGIC, len(head).to_bytes(4, "big"), head, self.before, self.state])

    @classmethod
    def from_bytes(cls, data: bytes, build: bytes) -> Checkpoint:
        """Take up what ``to_bytes`` gave, which is not authenticated; RunError for another
        version's: a state is only for the sandbox that made it."""
        start = len(MAGIC) + 4
        end = start + int.from_bytes(data[len(MAGIC) : start], "big")
        head = from_json(data[start:end])
        if head["build"] != build.hex():
            raise RunError("the run was saved by another version of the quickjs runtime")
        split = end + head["before"]
        return cls(
            build,
            data[split:],
            data[end:split],
            [(number, name, arguments) for number, name, arguments in head["awaited"]],
            head["made"],
            head["printed"],
            head["seconds"],
        )
