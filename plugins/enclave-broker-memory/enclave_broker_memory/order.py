"""The order in which sessions were created, for lists that are read page by page."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from .session import StoredSession


class CreationOrder:
    """The sessions in the order of their numbers.

    Who reads page by page may hold the id of a session that has been deleted meanwhile: the
    numbers of the ``remembered`` latest ones are kept, so that reading goes on behind it.
    """

    def __init__(self, remembered: int) -> None:
        self._sessions: list[StoredSession] = []
        self._deleted: OrderedDict[str, int] = OrderedDict()
        self._remembered = remembered

    def add(self, session: StoredSession) -> None:
        """Add the session with the highest number so far."""
        self._sessions.append(session)
        self._deleted.pop(session.id, None)

    def remove(self, session: StoredSession) -> None:
        del self._sessions[bisect_left(self._sessions, session.number, key=_number)]
        self._deleted[session.id] = session.number
        if len(self._deleted) > self._remembered:
            self._deleted.popitem(last=False)

    def number_of_deleted(self, session_id: str) -> int | None:
        return self._deleted.get(session_id)

    def after(self, number: int) -> Iterator[StoredSession]:
        """The sessions with a higher number; for use before any is added or removed."""
        start = bisect_right(self._sessions, number, key=_number)
        return islice(self._sessions, start, None)


def _number(session: StoredSession) -> int:
    return session.number
