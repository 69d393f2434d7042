"""So many places for calls at once, and a queue for those that wait for one."""

from __future__ import annotations

from collections import deque

import anyio


class Place:
    """Taken by one call until it is given back.

    ``until`` is when its call's time is over: a call that was let go never gives it back.
    """

    __slots__ = ("until",)

    def __init__(self, until: float) -> None:
        self.until = until


class Waiter:
    """Waits for a place; ``place`` is set by whoever gave one back."""

    __slots__ = ("place", "until", "woken")

    def __init__(self, until: float) -> None:
        self.until = until
        self.place: Place | None = None
        self.woken = anyio.Event()


class Places:
    """First come, first served. Times are those of ``anyio.current_time``."""

    __slots__ = ("_most", "_most_waiting", "_taken", "_waiting")

    def __init__(self, most: int, most_waiting: int) -> None:
        self._most = most
        self._most_waiting = most_waiting
        self._taken: set[Place] = set()
        self._waiting: deque[Waiter] = deque()

    @property
    def is_unused(self) -> bool:
        return not self._taken and not self._waiting

    async def take(self, seconds: float, until: float) -> Place | None:
        """A place, waiting for one up to ``seconds``; None when there is none in time.

        None at once when the queue is full.
        """
        self._serve()
        if not self._waiting:
            place = self._free(until)
            if place is not None:
                return place
        if seconds <= 0 or len(self._waiting) >= self._most_waiting:
            return None
        waiter = Waiter(until)
        self._waiting.append(waiter)
        try:
            with anyio.move_on_after(seconds):
                await waiter.woken.wait()
        except BaseException:
            self._withdraw(waiter)
            if waiter.place is not None:
                self.give_back(waiter.place)
            raise
        self._withdraw(waiter)
        return waiter.place

    def give_back(self, place: Place) -> None:
        self._taken.discard(place)
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            free = self._free(self._waiting[0].until)
            if free is None:
                return
            waiter = self._waiting.popleft()
            waiter.place = free
            waiter.woken.set()

    def _free(self, until: float) -> Place | None:
        if len(self._taken) >= self._most:
            now = anyio.current_time()
            self._taken = {place for place in self._taken if place.until > now}
            if len(self._taken) >= self._most:
                return None
        place = Place(until)
        self._taken.add(place)
        return place

    def _withdraw(self, waiter: Waiter) -> None:
        if waiter.place is None:
            self._waiting.remove(waiter)
