"""Finds the first of many patterns that matches a name, without trying them all."""

from __future__ import annotations

from collections.abc import Sequence

from .patterns import Pattern

MEMO_SIZE = 4096

# Of the patterns with one beginning: the length of an end → that end → patterns in order.
_ByTail = dict[int, dict[str, list[tuple[int, Pattern]]]]


class PatternIndex:
    """An ordered set of patterns; ``first(name)`` is the position of the first that matches.

    Exact names are found in a table. The others are kept by what they begin and what they
    end with, so a look-up tries only those whose beginning and end the name has. Answers are
    remembered for up to ``MEMO_SIZE`` names; the index never changes, so they never grow
    stale.
    """

    __slots__ = ("_exact", "_heads", "_lengths", "_memo")

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._heads: dict[str, _ByTail] = {}
        for position, pattern in enumerate(patterns):
            if pattern.exact:
                self._exact.setdefault(pattern.text, []).append(position)
            else:
                tails = self._heads.setdefault(pattern.head, {})
                alike = tails.setdefault(len(pattern.tail), {})
                alike.setdefault(pattern.tail, []).append((position, pattern))
        self._lengths = sorted({len(head) for head in self._heads})
        self._memo: dict[str, int] = {}

    def first(self, name: str) -> int:
        """The position of the first pattern that matches, or -1."""
        found = self._memo.get(name)
        if found is None:
            found = self.search(name)
            if len(self._memo) >= MEMO_SIZE:
                self._memo.clear()
            self._memo[name] = found
        return found

    def search(self, name: str) -> int:
        """The same as ``first``, without remembering the answer."""
        exact = self._exact.get(name)
        best = exact[0] if exact else -1
        for length in self._lengths:
            if length > len(name):
                break
            tails = self._heads.get(name[:length])
            if tails is None:
                continue
            for tail_length, alike in tails.items():
                for position, pattern in alike.get(name[len(name) - tail_length :], ()):
                    if 0 <= best < position:
                        break
                    if pattern.matches(name):
                        best = position
                        break
        return best

    def all(self, name: str) -> list[int]:
        """The positions of all patterns that match, in order."""
        found = list(self._exact.get(name, ()))
        for length in self._lengths:
            if length > len(name):
                break
            for tail_length, alike in self._heads.get(name[:length], {}).items():
                bucket = alike.get(name[len(name) - tail_length :], ())
                found += [position for position, pattern in bucket if pattern.matches(name)]
        return sorted(found)
