"""Events that were written though nobody heard of it: whoever asked was cancelled meanwhile."""

from __future__ import annotations

from enclave_broker_core.events import Draft

# Of so many it is remembered where they are; the oldest are forgotten first.
MOST = 1_000


class Unheard:
    """Knows the very objects, so that one that is given again is not written again."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Draft, int]] = {}

    def add(self, event: Draft, seq: int) -> None:
        self._known[id(event)] = event, seq
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    def seq(self, event: Draft) -> int | None:
        """Where the event is, if it was written unheard. It is asked for once."""
        if not self._known:
            return None
        found = self._known.pop(id(event), None)
        return None if found is None else found[1]
