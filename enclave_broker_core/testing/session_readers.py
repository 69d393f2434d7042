"""The part of the store suite that is about readers: those that wait are woken, each time."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from enclave_broker_core.errors import SessionNotFoundError
from enclave_broker_core.events import Event
from enclave_broker_core.session_store import SessionStore

from .samples import call, end, event, events, final, record, write
from .store_suite import StoreSuite

LONG = 3600.0


class Reader:
    """Reads once, in a task of its own, and keeps what it was given or told."""

    def __init__(self, store: SessionStore, from_seq: int = 1, id: str = "s_1") -> None:
        self._store = store
        self._from_seq = from_seq
        self._id = id
        self.done = anyio.Event()
        self.found: Sequence[Event] | None = None
        self.problem: Exception | None = None

    async def run(self) -> None:
        try:
            self.found = await self._store.read(self._id, self._from_seq, wait=LONG)
        except SessionNotFoundError as problem:
            self.problem = problem
        finally:
            self.done.set()


@pytest.mark.anyio
class SessionReaderSuite(StoreSuite):
    async def test_read_gives_what_is_asked_for(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await write(store, *events(1, 6))
            assert list(await store.read("s_1", 3)) == events(3, 6)
            assert list(await store.read("s_1", 3, limit=2)) == events(3, 4)
            assert list(await store.read("s_1", limit=6)) == events(1, 6)
            with anyio.fail_after(self.patience):
                assert list(await store.read("s_1", 6, wait=LONG)) == [event(6)]
                assert list(await store.read("s_1", 2, limit=1, wait=LONG)) == [event(2)]

    async def test_read_without_wait_returns_at_once(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            with anyio.fail_after(self.patience):
                assert list(await store.read("s_1")) == []
                await write(store, *events(1, 2))
                assert list(await store.read("s_1", 3)) == []
                assert list(await store.read("s_1", 99, wait=0)) == []

    async def test_a_wait_that_is_over_returns_nothing(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            with anyio.fail_after(self.patience):
                assert list(await store.read("s_1", wait=0.01)) == []
            await write(store, event(1))
            assert list(await store.read("s_1")) == [event(1)]

    async def test_an_append_wakes_all_who_wait(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            readers = [Reader(store) for _ in range(3)]
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    for reader in readers:
                        tasks.start_soon(reader.run)
                    await wait_all_tasks_blocked()
                    await write(store, event(1), call=call())
            assert [list(reader.found or ()) for reader in readers] == [[event(1)]] * 3

    async def test_the_end_wakes_all_who_wait(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            waiting, beyond = Reader(store), Reader(store, from_seq=7)
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(waiting.run)
                    tasks.start_soon(beyond.run)
                    await wait_all_tasks_blocked()
                    await end(store, final(1))
            assert list(waiting.found or ()) == [final(1)]
            assert beyond.found is not None
            assert list(beyond.found) == []

    async def test_delete_wakes_all_who_wait(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            readers = [Reader(store), Reader(store)]
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    for reader in readers:
                        tasks.start_soon(reader.run)
                    await wait_all_tasks_blocked()
                    await store.delete("s_1")
            assert [type(reader.problem) for reader in readers] == [SessionNotFoundError] * 2

    async def test_an_ended_session_is_never_waited_for(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await end(store, final(1))
            with anyio.fail_after(self.patience):
                assert list(await store.read("s_1", 2, wait=LONG)) == []
                assert list(await store.read("s_1", 1, wait=LONG)) == [final(1)]

    async def test_a_reader_waits_for_the_seq_that_it_asked_for(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await store.create(record("s_2"))
            reader = Reader(store, from_seq=4)
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(reader.run)
                    await wait_all_tasks_blocked()
                    await write(store, *events(1, 9, "s_2"))
                    await write(store, *events(1, 2))
                    await write(store, event(3), call=call())
                    await wait_all_tasks_blocked()
                    assert not reader.done.is_set()
                    await write(store, event(4))
            assert list(reader.found or ()) == [event(4)]

    async def test_who_follows_a_session_misses_nothing(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            last = 40

            async def follow(limit: int, seen: list[Event]) -> None:
                while not seen or seen[-1].type != "final":
                    found = await store.read("s_1", len(seen) + 1, limit=limit, wait=LONG)
                    assert 1 <= len(found) <= limit
                    seen += found

            async def write_all() -> None:
                for seq in range(1, last):
                    await write(store, event(seq))
                    # Now and then everybody has caught up, now and then nobody has.
                    if seq % 4 == 0:
                        await wait_all_tasks_blocked()
                    elif seq % 4 == 1:
                        await checkpoint()
                await end(store, final(last))

            followed: list[list[Event]] = [[], [], []]
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    for limit, seen in zip((1, 3, 1000), followed, strict=True):
                        tasks.start_soon(follow, limit, seen)
                    tasks.start_soon(write_all)
            assert followed == [[*events(1, last - 1), final(last)]] * 3

    async def test_a_cancelled_reader_leaves_no_trace(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            staying = Reader(store)
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(staying.run)
                    async with anyio.create_task_group() as leaving:
                        for _ in range(3):
                            leaving.start_soon(Reader(store).run)
                        await wait_all_tasks_blocked()
                        leaving.cancel_scope.cancel()
                    assert not staying.done.is_set()
                    await write(store, event(1))
                assert list(staying.found or ()) == [event(1)]
                later = Reader(store, from_seq=2)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(later.run)
                    await wait_all_tasks_blocked()
                    await write(store, event(2))
                assert list(later.found or ()) == [event(2)]
                assert list(await store.read("s_1")) == events(1, 2)
