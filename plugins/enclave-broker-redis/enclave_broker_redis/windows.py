"""Windows as the scripts take them: the keys that hold them, and their sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from enclave_broker_core.models import Admission, Window

from .keys import Keys

MOST_PLANS = 32_768
_SESSION = "session:"

Slot = Callable[[str], int]


class Share(NamedTuple):
    """The windows that one script can count: ``places`` says which of all these are.

    ``arguments`` has three of each: the place of its key, its calls, its microseconds.
    """

    keys: tuple[str, ...]
    arguments: tuple[int, ...]
    places: tuple[int, ...]


class Plan(NamedTuple):
    """It holds the windows, so that no other tuple can get their identity meanwhile."""

    windows: Sequence[Window]
    shares: tuple[Share, ...]


class Plans:
    """Finds, for some windows, the scripts to run; with ``slot``, one for each slot."""

    def __init__(self, keys: Keys, slot: Slot | None = None) -> None:
        self._keys = keys
        self._slot = slot
        self._known: dict[int, Plan] = {}

    def of(self, windows: Sequence[Window]) -> Plan:
        """ValueError for a window without calls or time."""
        known = self._known.get(id(windows))
        if known is not None:
            return known
        plan = Plan(windows, tuple(self._shares(windows)))
        if type(windows) is tuple:
            if len(self._known) >= MOST_PLANS:
                self._known.clear()
            self._known[id(windows)] = plan
        return plan

    def _shares(self, windows: Sequence[Window]) -> Sequence[Share]:
        grouped: dict[int, list[int]] = {}
        for place, window in enumerate(windows):
            if window.max_calls < 1 or not window.seconds > 0:
                raise ValueError(f"a window needs max_calls >= 1 and seconds > 0: {window}")
            slot = 0 if self._slot is None else self._slot(self._key(window))
            grouped.setdefault(slot, []).append(place)
        return [self._share(windows, places) for places in grouped.values()]

    def _share(self, windows: Sequence[Window], places: Sequence[int]) -> Share:
        keys: dict[str, int] = {}
        arguments: list[int] = []
        for place in places:
            window = windows[place]
            number = keys.setdefault(self._key(window), len(keys) + 1)
            arguments += [number, window.max_calls, math.ceil(window.seconds * 1_000_000)]
        return Share(tuple(keys), tuple(arguments), tuple(places))

    def _key(self, window: Window) -> str:
        """A session's window is where the session is."""
        if window.key.startswith(_SESSION):
            return self._keys.of(window.key.removeprefix(_SESSION), "w")
        return self._keys.window(window.key)


def admission(windows: Sequence[Window], refusals: Mapping[int, int]) -> Admission:
    """The answer when those at these places refuse, each for so many microseconds."""
    if not refusals:
        return Admission()
    last = max(refusals, key=lambda place: refusals[place])
    return Admission(windows[last], refusals[last] / 1_000_000)
