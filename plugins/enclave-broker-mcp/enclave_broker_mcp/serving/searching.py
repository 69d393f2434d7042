"""Finds tools of a catalog by words of what they do."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from enclave_broker_core.models import ToolSpec

_TOKENS = re.compile(r"[^\W_]+")
# Between two words that are written as one: "getUser", "HTTPStatus", "v2".
_SEAMS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=\D)|(?<=\D)(?=\d)")
SHORTEST_STEM = 3
# What is longer is no word, and what comes later in a description is not looked at.
LONGEST_WORD = 64
LONGEST_DESCRIPTION = 2000
MOST_WORDS = 32
# How many tools are known besides those of one search.
SPARE = 1000
IN_NAME, IN_TAGS, IN_DESCRIPTION = 8, 4, 1

_Places = Sequence[tuple[int, "_Words"]]


def words(text: str) -> list[str]:
    """The words of a text or of a name, in lower case."""
    split = (word.lower() for token in _TOKENS.findall(text) for word in _SEAMS.split(token))
    return [word for word in split if len(word) <= LONGEST_WORD]


class Index:
    """Reads each tool once: a spec is the same object until its tool is published anew."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[ToolSpec, _Places]] = {}

    def found(
        self, query: str, tools: Mapping[str, ToolSpec], limit: int
    ) -> tuple[list[ToolSpec], int]:
        """The best tools for a query, and how many there are in all; all for one without words.

        A word counts where it stands or begins another one: most in a name, least in a
        description. Tools that have more of the words come first.
        """
        wanted = list(dict.fromkeys(words(query)))[:MOST_WORDS]
        if not wanted:
            return list(tools.values())[:limit], len(tools)
        if len(self._read) > 2 * len(tools) + SPARE:
            self._read.clear()
        scored = [(_score(wanted, self._places(spec)), spec) for spec in tools.values()]
        matching = [(score, spec) for score, spec in scored if score > (0, 0)]
        matching.sort(key=lambda item: item[0], reverse=True)
        return [spec for _, spec in matching[:limit]], len(matching)

    def _places(self, spec: ToolSpec) -> _Places:
        known = self._read.get(spec.name)
        if known is not None and known[0] is spec:
            return known[1]
        places = (
            (IN_NAME, _Words(spec.name)),
            (IN_TAGS, _Words(" ".join(spec.tags))),
            (IN_DESCRIPTION, _Words(spec.description[:LONGEST_DESCRIPTION])),
        )
        self._read[spec.name] = spec, places
        return places


class _Words:
    """The words of one place, in which others are looked up: catalogs are large."""

    def __init__(self, text: str) -> None:
        self._all = frozenset(words(text))
        self._sorted = sorted(self._all)

    def has(self, word: str) -> bool:
        return word in self._all

    def has_like(self, word: str) -> bool:
        """Whether it begins one of them, or one of them it: a plural is found by its singular."""
        if len(word) < SHORTEST_STEM or not self._all:
            return False
        at = bisect_left(self._sorted, word)
        if at < len(self._sorted) and self._sorted[at].startswith(word):
            return True
        return any(word[:end] in self._all for end in range(SHORTEST_STEM, len(word)))


def _score(wanted: Iterable[str], places: _Places) -> tuple[int, int]:
    """How many of the words the tool has, and how well."""
    hits = weight = 0
    for word in wanted:
        best = max(
            2 * value if there.has(word) else value if there.has_like(word) else 0
            for value, there in places
        )
        hits += best > 0
        weight += best
    return hits, weight
