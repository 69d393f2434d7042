"""Makes a JSON value shorter: its longest lists and texts first, and what it is stays seen."""

from __future__ import annotations

from itertools import islice
from typing import Any

from pydantic import JsonValue
from pydantic_core import to_json

# A list of so many items is cut when a text of so many times this many characters is.
ITEM = 64
# Texts that are no longer than this are left, as long as objects can give something.
SHORT = 32
# So often is the interval halved in which the right measure lies.
STEPS = 5
ELLIPSIS = "…"


def shortened(value: JsonValue, max_bytes: int) -> JsonValue:
    """``value`` with a JSON text of at most ``max_bytes``: itself when it has one.

    There is one measure for all: texts that are longer are cut, and lists that have more
    than a 64th as many items, and in their place it says how much was left out. Objects
    keep all their members, unless it takes more than cutting texts to a few words;
    then what holds for lists holds for them too. A value that can't be made so small is
    replaced by a text that says how large it was, and by null when there is no room for it.

    It takes time for what is kept, several times, and not for all that the value holds.
    """
    size = len(to_json(value))
    if size <= max_bytes:
        return value
    for objects, least in ((False, SHORT), (True, 0)):
        found = _longest(value, max_bytes, least, objects)
        if found is not None:
            return found[0]
    note = f"[{size} bytes left out]"
    return note if len(note) + 2 <= max_bytes else None


def _longest(
    value: JsonValue, max_bytes: int, least: int, objects: bool
) -> tuple[JsonValue] | None:
    """The value cut by the largest measure that was found to fit."""
    best = _cut(value, max_bytes, least, objects)
    if best is None:
        return None
    fits, step = least, ITEM
    while fits < max_bytes and (found := _cut(value, max_bytes, fits + step, objects)):
        best, fits, step = found, fits + step, step * 2
    too_much = fits + step
    for _ in range(STEPS):
        middle = (fits + too_much) // 2
        found = _cut(value, max_bytes, middle, objects)
        if found is None:
            too_much = middle
        else:
            best, fits = found, middle
    return best


def _cut(value: JsonValue, max_bytes: int, measure: int, objects: bool) -> tuple[JsonValue] | None:
    """The value cut by a measure, in a tuple; None as soon as it is known not to fit."""
    cutter = _Cutter(max_bytes, measure, objects)
    try:
        return (cutter.cut(value),)
    except _TooLargeError:
        return None


class _TooLargeError(Exception):
    """There is no room for what is left."""


class _Cutter:
    """Builds the value that is left, and counts the bytes of its JSON text."""

    __slots__ = ("_items", "_left", "_measure", "_members")

    def __init__(self, max_bytes: int, measure: int, objects: bool) -> None:
        self._left = max_bytes
        self._measure = measure
        self._items = measure // ITEM
        self._members = self._items if objects else None

    def cut(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            kept = [self._behind_comma(item) for item in islice(value, self._items)]
            left_out = len(value) - len(kept)
            if left_out:
                note = f"{ELLIPSIS} [{left_out} {'items' if left_out > 1 else 'item'} left out]"
                self._spend(len(to_json(note)) + 1)
                kept.append(note)
            self._spend(2)
            return kept
        if isinstance(value, dict):
            most = len(value) if self._members is None else self._members
            members = {}
            for name, item in islice(value.items(), most):
                self._spend(len(to_json(name)) + 1)
                members[name] = self._behind_comma(item)
            left_out = len(value) - len(members)
            if left_out:
                name = ELLIPSIS
                while name in members:
                    name += ELLIPSIS
                note = f"[{left_out} {'members' if left_out > 1 else 'member'} left out]"
                self._spend(len(to_json(name)) + len(to_json(note)) + 2)
                members[name] = note
            self._spend(2)
            return members
        self._spend(len(to_json(value)))
        return value

    def _behind_comma(self, value: Any) -> Any:
        self._spend(1)
        return self.cut(value)

    def _text(self, text: str) -> str:
        left_out = len(text) - self._measure
        note = f"{ELLIPSIS} [{left_out} characters left out]"
        if left_out > len(note):
            text = text[: self._measure] + note
        if len(text) > self._left:  # not written out to find that it is too long
            raise _TooLargeError
        self._spend(len(to_json(text)))
        return text

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _TooLargeError
