"""The limiter's windows: counted in memory, and kept in the file for the next process."""

from __future__ import annotations

import heapq
import math
import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence

from pydantic_core import from_json, to_json

from enclave_broker_core.errors import LimiterError
from enclave_broker_core.models import Admission, Window
from enclave_broker_core.windows import ADMITTED, SlidingWindows

_CALL = struct.Struct("<dq")

# How many rows whose time is over are removed at a time.
_REMOVED = 64
# How many windows that no call is in any more are forgotten at a time.
_FORGOTTEN = 2000
_MOST_SEEN = 32_768


class _Kind:
    """Windows that calls count in together. ``last`` is when one was admitted last."""

    __slots__ = ("id", "last", "span", "windows")

    def __init__(self, id: int, windows: Sequence[Window], span: int) -> None:
        self.id = id
        self.windows = windows
        self.span = span
        self.last = -math.inf


class Windows:
    """What is admitted is in the file with the commit that ``write`` is part of.

    A commit's admissions are one row for each span, a power of two of seconds that the
    longest window of a key fits into: so rows leave in the order in which they came.
    """

    def __init__(self, sql: sqlite3.Connection, now: Callable[[], float]) -> None:
        self._sql = sql
        self._now = now
        self._at = 0.0
        self._windows = SlidingWindows(self._time)
        self._kinds: dict[tuple[tuple[str, int, float], ...], _Kind] = {}
        self._seen: dict[int, tuple[Sequence[Window], _Kind]] = {}
        self._longest: dict[str, float] = {}
        self._admitted: dict[int, list[bytes]] = {}
        self._next_row: dict[int, int] = {}
        self._next_kind = 1
        self._half_read = False
        self.forget()

    def _time(self) -> float:
        return self._at

    def forget(self) -> None:
        """Count anew what the file has, as it was admitted."""
        self._half_read = True
        self._windows = SlidingWindows(self._time)
        self._kinds.clear()
        self._seen.clear()
        self._longest.clear()
        self._admitted.clear()
        kinds = {}
        for id, text in self._sql.execute("SELECT id, windows FROM window_sets"):
            windows = tuple(
                Window(key, "", most, seconds) for key, most, seconds in from_json(text)
            )
            kinds[id] = self._kinds[_content(windows)] = _Kind(id, windows, self._span(windows))
        self._next_kind = max(kinds, default=0) + 1
        [*spans] = self._sql.execute("SELECT span, max(id) FROM admissions GROUP BY span")
        self._next_row = {span: last + 1 for span, last in spans}
        for at, id in heapq.merge(*(self._calls(span) for span in self._next_row)):
            kind = kinds.get(id)
            if kind is not None:
                self._at = kind.last = at
                self._windows.acquire(kind.windows)
        self._half_read = False

    def _calls(self, span: int) -> Iterator[tuple[float, int]]:
        rows = self._sql.execute("SELECT calls FROM admissions WHERE span = ? ORDER BY id", (span,))
        for (calls,) in rows:
            yield from _CALL.iter_unpack(calls)

    def acquire(self, windows: Sequence[Window]) -> Admission:
        """See the contract of limiters. LimiterError for a window without calls or time."""
        if not windows:
            return ADMITTED
        self._at = now = max(self._at, self._now())
        try:
            admission = self._windows.acquire(windows)
        except ValueError as problem:
            raise LimiterError(str(problem)) from None
        if admission is ADMITTED:
            seen = self._seen.get(id(windows))
            kind = self._kind(windows) if seen is None else seen[1]
            kind.last = now
            self._admitted.setdefault(kind.span, []).append(_CALL.pack(now, kind.id))
        return admission

    def remaining(self, windows: Sequence[Window]) -> list[int]:
        self._at = max(self._at, self._now())
        return [self._windows.remaining(window) for window in windows]

    def write(self) -> None:
        """Write what was admitted in this transaction, and remove some that is over."""
        for span, calls in self._admitted.items():
            number = self._next_row.get(span, 1)
            self._next_row[span] = number + 1
            until = self._at + 2.0**span
            self._sql.execute(
                "INSERT INTO admissions VALUES (?, ?, ?, ?)", (span, number, until, b"".join(calls))
            )
            if number % (_REMOVED // 2) == 0:
                self._remove(span)

    def written(self) -> None:
        """What ``write`` wrote is committed."""
        self._admitted.clear()

    def recover(self) -> None:
        """The transaction failed: nothing that was admitted in it counts."""
        if self._admitted or self._half_read:
            self.forget()

    def _remove(self, span: int) -> None:
        over = 0
        for number, until in self._sql.execute(
            "SELECT id, until FROM admissions WHERE span = ? ORDER BY id LIMIT ?", (span, _REMOVED)
        ):
            if until > self._at:
                break
            over = number
        self._sql.execute("DELETE FROM admissions WHERE span = ? AND id <= ?", (span, over))

    def sweep(self) -> None:
        """Forget the windows that no call is in any more."""
        self._at = max(self._at, self._now())
        over = [kind for kind in self._kinds.values() if kind.last + 2.0**kind.span <= self._at]
        del over[_FORGOTTEN:]
        for kind in over:
            del self._kinds[_content(kind.windows)]
        if over:
            self._sql.executemany(
                "DELETE FROM window_sets WHERE id = ?", [(kind.id,) for kind in over]
            )
            self._seen.clear()
            self._longest.clear()
            for kind in self._kinds.values():
                self._span(kind.windows)
        for span in self._next_row:
            self._remove(span)

    def _kind(self, windows: Sequence[Window]) -> _Kind:
        content = _content(windows)
        kind = self._kinds.get(content)
        if kind is None:
            kind = _Kind(self._next_kind, tuple(windows), self._span(windows))
            self._next_kind += 1
            self._sql.execute(
                "INSERT INTO window_sets VALUES (?, ?)", (kind.id, to_json(content).decode())
            )
            self._kinds[content] = kind
        if type(windows) is tuple:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            # It holds the windows, so that no other tuple can get their identity meanwhile.
            self._seen[id(windows)] = windows, kind
        return kind

    def _span(self, windows: Sequence[Window]) -> int:
        """A key's calls are kept as long as the longest window of it may ask for them."""
        longest = self._longest
        grown = False
        for window in windows:
            if window.seconds > longest.get(window.key, 0.0):
                grown = grown or window.key in longest
                longest[window.key] = window.seconds
        if grown:
            # What counts in the same keys is kept longer from now on.
            for kind in self._kinds.values():
                kind.span = max(kind.span, _span_of(kind.windows, longest))
        return _span_of(windows, longest)


def _content(windows: Sequence[Window]) -> tuple[tuple[str, int, float], ...]:
    return tuple((window.key, window.max_calls, window.seconds) for window in windows)


def _span_of(windows: Sequence[Window], longest: dict[str, float]) -> int:
    return max(0, math.ceil(math.log2(max(longest[window.key] for window in windows))))
