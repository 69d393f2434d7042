"""The part of the store suite that is about those who claim one key: who waits, who is next."""

from __future__ import annotations

import random
from functools import partial

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from enclave_broker_core.errors import SessionNotFoundError
from enclave_broker_core.models import Claim
from enclave_broker_core.session_store import SessionStore

from .samples import ENDED_AT, at_once, end, final, record
from .session_claims import CONFLICT, LONG, NEW, PENDING, SHORT, SOON, claim, settled
from .store_suite import StoreSuite

# A claim is cancelled after each number of steps, until it has been finished before.
STEPS = 40


class Waiter:
    """Claims once and waits for what comes of it, in a task of its own."""

    def __init__(
        self, store: SessionStore, key: str = "k", answered: anyio.Event | None = None
    ) -> None:
        self._store = store
        self._key = key
        self._answered = answered
        self.got: Claim | None = None
        self.problem: Exception | None = None

    async def run(self) -> None:
        try:
            self.got = await claim(self._store, self._key, wait=LONG)
        except SessionNotFoundError as problem:
            self.problem = problem
        if self._answered is not None:
            self._answered.set()


@pytest.mark.anyio
class SessionClaimantSuite(StoreSuite):
    async def test_one_of_many_at_once_is_new(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            results = await at_once([partial(claim, store) for _ in range(20)])
            assert results.count(NEW) == 1
            assert results.count(PENDING) == 19
            asked = ["one", "other"] * 6
            results = await at_once([partial(claim, store, "k2", by) for by in asked])
            assert results.count(NEW) == 1
            first = asked[results.index(NEW)]
            others = [PENDING if by == first else CONFLICT for by in asked]
            others[results.index(NEW)] = NEW
            assert results == others

    async def test_all_who_wait_get_the_answer(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            assert await claim(store) == NEW
            waiters = [Waiter(store) for _ in range(3)]
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    for waiter in waiters:
                        tasks.start_soon(waiter.run)
                    await wait_all_tasks_blocked()
                    assert [waiter.got for waiter in waiters] == [None] * 3
                    await store.settle("s_1", "k", b"done")
            assert [waiter.got for waiter in waiters] == [settled(b"done")] * 3

    async def test_a_released_key_goes_to_one_of_those_who_wait(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            assert await claim(store) == NEW
            waiters = [Waiter(store) for _ in range(4)]
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    for waiter in waiters:
                        tasks.start_soon(waiter.run)
                    for released in range(3):
                        await wait_all_tasks_blocked()
                        assert {waiter.got for waiter in waiters} <= {NEW, None}
                        assert [waiter.got for waiter in waiters].count(NEW) == released
                        await store.release("s_1", "k")
                        # A store may have to ask elsewhere whose turn it is.
                        while [waiter.got for waiter in waiters].count(NEW) == released:  # noqa: ASYNC110
                            await anyio.sleep(SHORT / 10)
                    await store.settle("s_1", "k", b"at last")
            got = [waiter.got for waiter in waiters]
            assert (got.count(NEW), got.count(settled(b"at last"))) == (3, 1)

    async def test_a_cancelled_waiter_leaves_no_trace(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            assert await claim(store) == NEW
            staying = Waiter(store)
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    async with anyio.create_task_group() as leaving:
                        for _ in range(3):
                            leaving.start_soon(Waiter(store).run)
                        await wait_all_tasks_blocked()
                        tasks.start_soon(staying.run)
                        await wait_all_tasks_blocked()
                        leaving.cancel_scope.cancel()
                    assert staying.got is None
                    assert await claim(store) == PENDING
                    await store.release("s_1", "k")
                assert staying.got == NEW
                async with anyio.create_task_group() as leaving:
                    leaving.start_soon(Waiter(store).run)
                    await wait_all_tasks_blocked()
                    leaving.cancel_scope.cancel()
                await store.release("s_1", "k")
                assert await claim(store, wait=LONG) == NEW

    async def test_a_wait_that_is_over_leaves_no_trace(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            with anyio.fail_after(self.patience):
                assert await claim(store) == NEW
                for _ in range(3):
                    assert await claim(store, wait=SHORT) == PENDING
                await store.release("s_1", "k")
                assert await claim(store, wait=LONG) == NEW

    async def test_who_is_cancelled_leaves_no_claim(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            for steps in range(STEPS):
                key = f"k_{steps}"
                got: list[Claim] = []

                async def ask(key: str = key, got: list[Claim] = got) -> None:
                    got.append(await claim(store, key))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ask)
                    for _ in range(steps):
                        await checkpoint()
                    over = bool(got)
                    tasks.cancel_scope.cancel()
                assert got in ([], [NEW])
                assert await claim(store, key) == (PENDING if got else NEW)
                if over:
                    break

    async def test_who_is_cancelled_as_the_key_is_released_does_not_keep_it(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            for steps in range(STEPS):
                key = f"k_{steps}"
                assert await claim(store, key) == NEW
                waiter = Waiter(store, key)
                with anyio.fail_after(self.patience):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(waiter.run)
                        await wait_all_tasks_blocked()
                        await store.release("s_1", key)
                        for _ in range(steps):
                            await checkpoint()
                        over = waiter.got is not None
                        tasks.cancel_scope.cancel()
                assert waiter.got in (None, NEW)
                assert await claim(store, key) == (PENDING if waiter.got else NEW)
                if over:
                    break

    async def test_a_key_whose_time_ends_goes_to_one_of_those_who_wait(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            assert await claim(store, seconds=SOON) == NEW
            answered = anyio.Event()
            waiters = [Waiter(store, answered=answered) for _ in range(3)]
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    for waiter in waiters:
                        tasks.start_soon(waiter.run)
                    await answered.wait()
                    await store.settle("s_1", "k", b"done")
            got = [waiter.got for waiter in waiters]
            assert (got.count(NEW), got.count(settled(b"done"))) == (1, 2)

    async def test_an_ended_session_has_claims_too(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            for key in ("done", "before"):
                assert await claim(store, key) == NEW
            await store.settle("s_1", "done", b"done")
            waiter = Waiter(store, "before")
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(waiter.run)
                    await wait_all_tasks_blocked()
                    await end(store, final(1))
                    assert await claim(store, "done") == settled(b"done")
                    assert await claim(store, "after") == NEW
                    await store.release("s_1", "after")
                    assert await claim(store, "after", "other") == NEW
                    await store.settle("s_1", "before", b"late")
            assert waiter.got == settled(b"late")
            assert await store.sweep(ENDED_AT + self.grace + 1) == 1
            with pytest.raises(SessionNotFoundError):
                await claim(store, "done")

    async def test_the_claims_go_with_their_session(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            for key in ("k", "done"):
                assert await claim(store, key) == NEW
            await store.settle("s_1", "done", b"done")
            waiters = [Waiter(store), Waiter(store)]
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    for waiter in waiters:
                        tasks.start_soon(waiter.run)
                    await wait_all_tasks_blocked()
                    await store.delete("s_1")
                    await store.create(record())
            assert [type(waiter.problem) for waiter in waiters] == [SessionNotFoundError] * 2
            for key in ("k", "done"):
                assert await claim(store, key, "other") == NEW

    @pytest.mark.parametrize("seed", range(6))
    async def test_what_is_done_under_a_key_is_done_by_one_at_a_time(self, seed: int) -> None:
        chosen = random.Random(seed)  # noqa: S311 -- to be had again
        async with self.open_store() as store:
            await store.create(record())
            busy = done = 0

            async def act_once(answers: list[bytes], fails: bool, steps: list[int]) -> None:
                nonlocal busy, done
                for _ in range(steps[0]):
                    await checkpoint()
                found = await claim(store, wait=LONG)
                if found == NEW:
                    busy += 1
                    assert (busy, done) == (1, 0)
                    for _ in range(steps[1]):
                        await checkpoint()
                    busy -= 1
                    if fails:
                        await store.release("s_1", "k")
                        return
                    done += 1
                    await store.settle("s_1", "k", b"done")
                    found = settled(b"done")
                answers.append(found.answer or b"")

            answers: list[bytes] = []
            failing = 5
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    for number in chosen.sample(range(12), 12):
                        steps = [chosen.randrange(6), chosen.randrange(6)]
                        tasks.start_soon(act_once, answers, number < failing, steps)
            assert done == 1
            assert set(answers) == {b"done"}
            assert len(answers) >= 12 - failing
