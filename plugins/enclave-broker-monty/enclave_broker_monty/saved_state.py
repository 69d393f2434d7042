"""A session's code state between runs: pydantic-monty's dump, and what must be known of it."""

from __future__ import annotations

from dataclasses import dataclass

from enclave_broker_core.errors import RunError

MAGIC = b"enclave-monty-1"


@dataclass(frozen=True, slots=True)
class SavedState:
    """``heap`` is empty before the first run; ``has_prelude``: the prelude has run in it."""

    heap: bytes = b""
    has_prelude: bool = False

    def to_bytes(self) -> bytes:
        return MAGIC + (b"+" if self.has_prelude else b"-") + self.heap

    @classmethod
    def from_bytes(cls, data: bytes) -> SavedState:
        """Take up what ``to_bytes`` gave; RunError for anything else.

        The heap itself is checked when a worker loads it. It is not authenticated, so a
        state must only come from where nobody else can write.
        """
        mark = data[len(MAGIC) : len(MAGIC) + 1]
        if not data.startswith(MAGIC) or mark not in (b"+", b"-"):
            raise RunError("this is not a saved state of the monty runtime")
        return cls(heap=data[len(MAGIC) + 1 :], has_prelude=mark == b"+")
