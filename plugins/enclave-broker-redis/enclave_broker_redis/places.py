"""What this process holds, and the places of what it writes in a session's log."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from enclave_broker_core.errors import StoreError

from .ops import Op

# What the writing scripts answer, besides who follows the session.
DONE, MISSING, ENDED, LOST, GAP = 1, 0, -1, -2, -3

# Of so many writes it is remembered that their callers do not know what came of them.
MOST_DOUBTED = 64

Begin = Callable[[str, int], Op]
"""Begins a write as the holder with this token, at this place."""

Take = Callable[[str, str], Awaitable[int]]


class _Turn:
    """A write that waits until the places are known again."""

    __slots__ = ("begin", "op", "place", "places")

    def __init__(self, begin: Begin, place: int, places: int) -> None:
        self.begin = begin
        self.place = place
        self.places = places
        self.op: Op | None = None


class _Doubt:
    """A write whose caller was not told that it happened; nobody may know (None)."""

    __slots__ = ("happened", "place", "reply", "what")

    def __init__(self, what: object, place: int, op: Op) -> None:
        self.what = what
        self.place = place
        self.happened = None if op.failed else True
        self.reply: Any = DONE if op.failed else op.reply


class Hold:
    """One session that this process holds, and the places of what it writes there.

    Each write is given the next place when it begins, and the server lets it happen only
    there: so none happens twice, nor before those that began earlier. When one fails, those
    behind it do not fit any more, and nobody may know whether it happened. Then the session
    gets a new token, so that nothing that is still on its way can happen later, and the
    places are counted anew from what is there. ``take(old, new)`` does that, and says what
    the last place is; what it raises is raised by the writes that wait for it.
    """

    def __init__(
        self, token: str, last: int, new_token: Callable[[], str], take: Take, saves: int = 0
    ) -> None:
        self.token = token
        self.saves = saves
        self._new_token = new_token
        self._take = take
        self._next = last + 1
        self._under_way = 0
        self._unsure = False
        self._coming: str | None = None
        self._turns: list[_Turn] = []
        self._doubted: dict[int, _Doubt] = {}
        self._recovering = asyncio.Lock()
        self._quiet: asyncio.Future[None] | None = None

    async def write(self, begin: Begin, places: int = 1, *, what: object = None) -> tuple[int, Any]:
        """The place of a write that takes so many, and what the server says to it.

        It is finished, or has not happened, when this is cancelled. After a StoreError it may
        have happened. If ``what`` is the very object of a write that ended so, it is that write
        again, and happens once.
        """
        if self._doubted and what is not None and id(what) in self._doubted:
            doubt = self._doubted[id(what)]
            if await self._has_happened(doubt):
                return doubt.place, doubt.reply
        place = self._place(places)
        op = None if self._unsure else self._begin(begin, place)
        while True:
            if op is None:
                turn = _Turn(begin, place, places)
                op = await self._in_turn(turn, what)
                place = turn.place
            reply = await self._answer(op, place, what)
            if reply != GAP:
                return place, reply
            # It has not happened, because one before it has failed.
            self._unsure = True
            op = None

    def _place(self, places: int) -> int:
        place = self._next
        self._next = place + places
        return place

    def _begin(self, begin: Begin, place: int) -> Op:
        op = begin(self.token, place)
        self._under_way += 1
        return op

    async def _answer(self, op: Op, place: int, what: object) -> Any:
        try:
            return await op.finished()
        except BaseException:
            if what is not None:
                self._doubt(what, place, op)
            raise
        finally:
            self._under_way -= 1
            if self._quiet is not None and not self._under_way and not self._quiet.done():
                self._quiet.set_result(None)

    def _doubt(self, what: object, place: int, op: Op) -> None:
        if not op.failed and isinstance(op.reply, int) and op.reply != DONE:
            return
        self._doubted[id(what)] = _Doubt(what, place, op)
        if len(self._doubted) > MOST_DOUBTED:
            del self._doubted[next(iter(self._doubted))]

    async def _has_happened(self, doubt: _Doubt) -> bool:
        if doubt.happened is None:
            self._unsure = True
            async with self._recovering:
                if doubt.happened is None:
                    await self._recover()
        self._doubted.pop(id(doubt.what), None)
        return doubt.happened is True

    async def _in_turn(self, turn: _Turn, what: object) -> Op:
        """Wait until the write has begun."""
        insort(self._turns, turn, key=_place_of)
        try:
            while turn.op is None:
                async with self._recovering:
                    if turn.op is None:
                        await self._recover()
        except asyncio.CancelledError:
            if turn.op is not None:
                with suppress(StoreError, asyncio.CancelledError):
                    await self._answer(turn.op, turn.place, what)
                if what is not None:
                    self._doubt(what, turn.place, turn.op)
            raise
        finally:
            if turn.op is None:
                self._turns.remove(turn)
        return turn.op

    async def _recover(self) -> None:
        while self._under_way:
            self._quiet = asyncio.get_running_loop().create_future()
            await self._quiet
        # The same one again, should an earlier try have succeeded unnoticed.
        self._coming = self._coming or self._new_token()
        last = await self._take(self.token, self._coming)
        self.token, self._coming = self._coming, None
        self._next = last + 1
        self._unsure = False
        for doubt in self._doubted.values():
            if doubt.happened is None:
                # Only it could have had its place, and now it can't come any more.
                doubt.happened = doubt.place <= last
        turns, self._turns = self._turns, []
        for turn in turns:
            turn.place = self._place(turn.places)
            turn.op = self._begin(turn.begin, turn.place)


def _place_of(turn: _Turn) -> int:
    return turn.place
