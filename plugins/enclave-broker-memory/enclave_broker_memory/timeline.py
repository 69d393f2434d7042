"""Session ids in the order of a time, for what is due first."""

from __future__ import annotations

from bisect import bisect_left, insort


class Timeline:
    """Pairs of a time and an id, earliest first; each is found without a scan."""

    def __init__(self) -> None:
        self._pairs: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, at: float, id: str) -> None:
        insort(self._pairs, (at, id))

    def remove(self, at: float, id: str) -> None:
        """Take out what ``add`` was given with the same time and id."""
        del self._pairs[bisect_left(self._pairs, (at, id))]

    def first(self) -> tuple[float, str]:
        """The earliest pair; IndexError when there is none."""
        return self._pairs[0]

    def before(self, at: float) -> list[str]:
        """The ids whose time is earlier than ``at``."""
        return [id for _, id in self._pairs[: bisect_left(self._pairs, (at,))]]
