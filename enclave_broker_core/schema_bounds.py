"""Bounds for a JSON Schema from somebody who is not trusted: what checking by it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import ArgumentsError

MOST_NODES = 4000
DEEPEST = 32
# A pattern of ten characters may become megabytes of automaton, and take its time to.
MOST_PATTERNS = 64
PATTERN_BYTES = 256 * 1024
_REFUSED = ("$dynamicRef", "$recursiveRef", "$id", "$schema")


def require_bounded(name: str, schema: Mapping[str, Any]) -> None:
    """ArgumentsError when the schema, with each reference counted as what it refers to, is
    larger or deeper than a tool's needs to be, refers to itself or to anything outside, or has
    many patterns. How large one pattern may be is for who checks by it: PATTERN_BYTES.
    """
    _Walk(name, schema).over(schema, 0, ())


class _Walk:
    def __init__(self, name: str, root: Mapping[str, Any]) -> None:
        self._name = name
        self._root = root
        self._nodes = 0
        self._patterns = 0

    def over(self, value: Any, depth: int, inside: tuple[str, ...]) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise self._error(f"has more than {MOST_NODES} parts, references counted as theirs")
        if depth > DEEPEST:
            raise self._error(f"is nested more than {DEEPEST} levels deep")
        if isinstance(value, list):
            for item in value:
                self.over(item, depth + 1, inside)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                if key in _REFUSED and isinstance(item, str):
                    raise self._error(f"has {key}, which is not taken here")
                self._count_patterns(key, item)
                if key == "$ref" and isinstance(item, str):
                    self._follow(item, depth, inside)
                else:
                    self.over(item, depth + 1, inside)

    def _count_patterns(self, key: str, item: Any) -> None:
        if key == "pattern" and isinstance(item, str):
            self._patterns += 1
        elif key == "patternProperties" and isinstance(item, Mapping):
            self._patterns += len(item)
        if self._patterns > MOST_PATTERNS:
            raise self._error(f"has more than {MOST_PATTERNS} patterns")

    def _follow(self, reference: str, depth: int, inside: tuple[str, ...]) -> None:
        if reference in inside:
            raise self._error(f"refers to itself by {reference[:80]!r}")
        self.over(self._resolved(reference), depth + 1, (*inside, reference))

    def _resolved(self, reference: str) -> Any:
        if reference != "#" and not reference.startswith("#/"):
            raise self._error(f"refers to {reference[:80]!r}, which is not in it")
        target: Any = self._root
        for part in reference.split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and part in target:
                target = target[part]
            else:
                raise self._error(f"refers to {reference[:80]!r}, which is not in it")
        return target

    def _error(self, said: str) -> ArgumentsError:
        return ArgumentsError(f"the schema of {self._name} {said}")
