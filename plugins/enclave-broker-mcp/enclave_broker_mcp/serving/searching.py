"""Finds tools of a catalog by words of what they do."""

from __future__ import annotations

import re
from collections.abc import Iterable

from enclave_broker_core.models import ToolSpec

_TOKENS = re.compile(r"[^\W_]+")
# Between two words that are written as one: "getUser", "HTTPStatus", "v2".
_SEAMS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=\D)|(?<=\D)(?=\d)")
SHORTEST_STEM = 3
MOST_WORDS = 32
IN_NAME, IN_TAGS, IN_DESCRIPTION = 8, 4, 1


def words(text: str) -> list[str]:
    """The words of a text or of a name, in lower case."""
    return [word.lower() for token in _TOKENS.findall(text) for word in _SEAMS.split(token)]


def found(query: str, tools: Iterable[ToolSpec], limit: int) -> tuple[list[ToolSpec], int]:
    """The best tools for a query, and how many there are in all; all for one without words.

    A word counts where it stands or begins another one: most in a name, least in a
    description. Tools that have more of the words come first.
    """
    wanted = list(dict.fromkeys(words(query)))[:MOST_WORDS]
    if not wanted:
        everything = list(tools)
        return everything[:limit], len(everything)
    scored = [(_score(wanted, spec), spec) for spec in tools]
    matching = [(score, spec) for score, spec in scored if score > (0, 0)]
    matching.sort(key=lambda item: item[0], reverse=True)
    return [spec for _, spec in matching[:limit]], len(matching)


def _score(wanted: Iterable[str], spec: ToolSpec) -> tuple[int, int]:
    """How many of the words the tool has, and how well."""
    places = (
        (IN_NAME, words(spec.name)),
        (IN_TAGS, words(" ".join(spec.tags))),
        (IN_DESCRIPTION, words(spec.description)),
    )
    hits = weight = 0
    for word in wanted:
        best = max(
            (2 * value if word in there else value if _begins(word, there) else 0)
            for value, there in places
        )
        hits += best > 0
        weight += best
    return hits, weight


def _begins(word: str, there: Iterable[str]) -> bool:
    # A plural is found by its singular and the other way round.
    return any(
        (other.startswith(word) or word.startswith(other))
        and min(len(word), len(other)) >= SHORTEST_STEM
        for other in there
    )
