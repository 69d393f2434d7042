"""Whatever fails, a log has no gaps, no event twice, and those that began first are first."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from enclave_broker_redis.ops import Op
from enclave_broker_redis.places import GAP, LOST, Hold
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave_broker_core.errors import SessionLostError, StoreError

Fate = str
"""What becomes of one message: ``done``, ``fails`` without effect, or is ``unknown``, that is
done or not with nobody told."""


class Server:
    """What log.lua does, and answers that come whenever the test lets them."""

    def __init__(self, chosen: random.Random, fates: Sequence[Fate]) -> None:
        self.log: list[int] = []
        self.token = "r.1"
        self._chosen = chosen
        self._fates = list(fates)
        self._arrived: list[tuple[Op, str, int, int]] = []
        self._late: list[tuple[str, int, int]] = []

    def write(self, by: int, token: str, place: int) -> Op:
        op = Op(("EVALSHA",), "key", again=True)
        self._arrived.append((op, token, place, by))
        return op

    async def take(self, old: str, new: str) -> int:
        await asyncio.sleep(0)
        if self._fates and self._chosen.random() < 0.2:
            # It has arrived, and yet nobody is told.
            if self._chosen.random() < 0.5 and self.token in (old, new):
                self.token = new
            raise StoreError("no answer")
        if self.token not in (old, new):
            raise SessionLostError("another has it")
        self.token = new
        return len(self.log)

    @property
    def waits(self) -> bool:
        return bool(self._arrived)

    def do(self) -> bool:
        """Do what has arrived first; False when there is nothing."""
        if not self._arrived:
            return False
        op, token, place, by = self._arrived.pop(0)
        fate = self._fates.pop() if self._fates else "done"
        if fate == "fails":
            op.fail(StoreError("no memory"))
        elif fate == "unknown":
            # It may even be done later, when others have been.
            self._late.append((token, place, by))
            op.fail(StoreError("no answer"))
        else:
            op.answer(self._apply(token, place, by))
        if self._chosen.random() < 0.1:
            self.do_late()
        return True

    def do_late(self) -> None:
        """Do what nobody expects any more."""
        if self._late:
            self._apply(*self._late.pop(self._chosen.randrange(len(self._late))))

    def _apply(self, token: str, place: int, by: int) -> int:
        if token != self.token:
            return LOST
        if place > len(self.log) + 1:
            return GAP
        if place == len(self.log) + 1:
            self.log.append(by)
        return 1


async def written(seed: int, fates: Sequence[Fate], count: int) -> None:
    chosen = random.Random(seed)
    server = Server(chosen, fates)
    tokens = iter(f"r.{number}" for number in range(2, 1000))
    hold = Hold("r.1", 0, lambda: next(tokens), server.take)
    ends: dict[int, int | None] = {}
    cancelled: set[int] = set()

    async def write(by: int) -> None:
        ends[by] = None
        place, reply = await hold.write(lambda token, place: server.write(by, token, place))
        assert reply == 1
        ends[by] = place

    tasks: list[asyncio.Task[None]] = []
    while len(tasks) < count or not all(task.done() for task in tasks):
        act = chosen.random()
        if act < 0.5 and len(tasks) < count:
            tasks.append(asyncio.create_task(write(len(tasks))))
        elif act < 0.55 and tasks:
            by = chosen.randrange(len(tasks))
            if tasks[by].cancel():
                cancelled.add(by)
        elif act < 0.9:
            server.do()
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)

    log = server.log
    assert len(set(log)) == len(log)
    for by, result in enumerate(results):
        if result is None:
            # Its place is where it said.
            assert ends[by] is not None
            assert log[(ends[by] or 0) - 1] == by
        else:
            assert isinstance(result, StoreError | asyncio.CancelledError)
            assert isinstance(result, StoreError) or by in cancelled
    # Nobody that was told of success is before one that began earlier.
    told = [by for by in log if results[by] is None]
    assert told == sorted(told)


@given(
    seed=st.integers(0, 2**32),
    fates=st.lists(st.sampled_from(["done", "done", "done", "fails", "unknown"]), max_size=40),
    count=st.integers(1, 30),
)
@settings(max_examples=150, deadline=None)
def test_a_log_stays_whole_whatever_fails(seed: int, fates: list[Fate], count: int) -> None:
    asyncio.run(written(seed, fates, count))


async def written_in_the_end(seed: int, fates: Sequence[Fate], count: int) -> None:
    """Who is not told, or cancelled, writes the same again until he is told."""
    chosen = random.Random(seed)
    server = Server(chosen, fates)
    tokens = iter(f"r.{number}" for number in range(2, 1000))
    hold = Hold("r.1", 0, lambda: next(tokens), server.take)

    async def write(by: int) -> int:
        what = [by]
        while True:
            try:
                place, reply = await hold.write(
                    lambda token, place: server.write(by, token, place), what=what
                )
            except (StoreError, asyncio.CancelledError):
                continue
            assert reply == 1
            return place

    tasks: list[asyncio.Task[int]] = []
    while len(tasks) < count or not all(task.done() for task in tasks):
        act = chosen.random()
        if act < 0.5 and len(tasks) < count:
            tasks.append(asyncio.create_task(write(len(tasks))))
        elif act < 0.55 and tasks:
            # A task that has not begun would not hear of it.
            await asyncio.sleep(0)
            tasks[chosen.randrange(len(tasks))].cancel()
        elif act < 0.9:
            server.do()
        await asyncio.sleep(0)
    places = [await task for task in tasks]
    assert sorted(server.log) == list(range(count))
    assert [server.log[place - 1] for place in places] == list(range(count))


@given(
    seed=st.integers(0, 2**32),
    fates=st.lists(st.sampled_from(["done", "done", "done", "fails", "unknown"]), max_size=40),
    count=st.integers(1, 30),
)
@settings(max_examples=150, deadline=None)
def test_the_same_again_happens_once(seed: int, fates: list[Fate], count: int) -> None:
    asyncio.run(written_in_the_end(seed, fates, count))


def test_without_failures_nobody_waits_for_anybody() -> None:
    async def run() -> None:
        server = Server(random.Random(0), [])
        hold = Hold("r.1", 0, lambda: "r.2", server.take)
        tasks = [
            asyncio.create_task(hold.write(lambda token, place: server.write(0, token, place)))
            for _ in range(5)
        ]
        await asyncio.sleep(0)
        for _ in range(5):
            assert server.do()
        assert [await task for task in tasks] == [(place, 1) for place in range(1, 6)]
        assert hold.token == "r.1"

    asyncio.run(run())


def test_what_another_has_taken_is_lost_also_for_those_who_wait() -> None:
    async def run() -> None:
        server = Server(random.Random(0), ["done", "fails"])
        hold = Hold("r.1", 0, lambda: "r.2", server.take)
        tasks = [
            asyncio.create_task(hold.write(lambda token, place: server.write(0, token, place)))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        for _ in range(3):
            server.do()
        server.token = "other.1"
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [
            StoreError,
            SessionLostError,
            SessionLostError,
        ]
        assert server.log == []

    asyncio.run(run())


def test_what_arrives_when_it_was_given_up_does_not_take_the_place_of_another() -> None:
    async def run() -> None:
        server = Server(random.Random(0), ["unknown"])
        hold = Hold("r.1", 0, lambda: "r.2", server.take)

        async def begin(by: int) -> asyncio.Task[tuple[int, object]]:
            task = asyncio.create_task(
                hold.write(lambda token, place: server.write(by, token, place))
            )
            await asyncio.sleep(0)
            return task

        first = await begin(1)
        server.do()
        second = await begin(2)
        server.do()
        while not server.waits:  # noqa: ASYNC110
            await asyncio.sleep(0)
        server.do_late()
        server.do()
        with pytest.raises(StoreError):
            await first
        assert await second == (1, 1)
        assert server.log == [2]

    asyncio.run(run())
