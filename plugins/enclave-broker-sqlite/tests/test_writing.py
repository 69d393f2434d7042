"""How writes become commits: in groups, each whole, and no one's fault is another's."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from enclave_broker_sqlite.file import SqliteFile, open_file
from enclave_broker_sqlite.store import SqliteStore
from sqlite_files import Configure

from enclave_broker_core.errors import SessionEndedError, StoreError
from enclave_broker_core.events import Draft
from enclave_broker_core.models import SessionState, Window
from enclave_broker_core.testing.replica_suite import Served
from enclave_broker_core.testing.samples import at_once, call, draft, event, record

pytestmark = pytest.mark.anyio


async def commits_of(file: SqliteFile) -> list[str]:
    """Grows with each transaction that is committed from now on."""
    commits: list[str] = []
    # What could wait until now is not to be among them.
    while file.ledger.untidy:
        await file.check()
    await file.check()

    def saw(statement: str) -> None:
        if statement == "COMMIT":
            commits.append(statement)

    file.ledger._sql.set_trace_callback(saw)
    return commits


async def test_what_is_asked_for_together_is_one_commit(configure: Configure) -> None:
    async with open_file(configure()) as file:
        store = SqliteStore(file)
        for number in range(50):
            await store.create(record(f"s_{number}"))
        commits = await commits_of(file)
        given = [partial(store.append, f"s_{n}", draft(event(1)), call()) for n in range(50)]
        assert await at_once(given) == [1] * 50
        assert len(commits) == 1


async def test_what_comes_while_a_commit_is_under_way_is_the_next(configure: Configure) -> None:
    async with open_file(configure()) as file:
        store = SqliteStore(file)
        await store.create(record())
        commits = await commits_of(file)
        steps = 30

        async def append(after: int) -> int:
            for _ in range(after):
                await checkpoint()
            return await store.append("s_1", draft(event(1)))

        seqs = await at_once([partial(append, n) for n in range(steps)])
        assert sorted(seqs) == list(range(1, steps + 1))  # type: ignore[type-var]
        assert 1 <= len(commits) < steps


async def test_more_than_one_commit_can_take_is_several(configure: Configure) -> None:
    async with open_file(configure()) as file:
        store = SqliteStore(file)
        await store.create(record())
        commits = await commits_of(file)
        await at_once([partial(store.append, "s_1", draft(event(1)))] * 1200)
        assert len(commits) == 3
        assert len(await store.read("s_1", limit=5000)) == 1200


async def test_one_that_can_not_be_written_fails_alone(configure: Configure) -> None:
    wrong: Any = "text, and not bytes"
    async with open_file(configure()) as file:
        store = SqliteStore(file)
        await store.create(record())
        given = [draft(event(n)) if n != 3 else ("stdout", wrong) for n in range(1, 7)]
        results = await at_once([partial(store.append, "s_1", one) for one in given])
        assert [type(one) for one in results] == [int, int, StoreError, int, int, int]
        seqs = {result: one for result, one in zip(results, given, strict=True) if one[1] != wrong}
        assert sorted(seqs) == [1, 2, 3, 4, 5]
        log = await store.read("s_1")
        assert [one.payload_json for one in log] == [seqs[seq][1] for seq in range(1, 6)]


async def test_a_name_that_is_no_text_is_refused_to_its_caller(configure: Configure) -> None:
    async with open_file(configure()) as file:
        store = SqliteStore(file)
        await store.create(record())
        for given in (call("c_\ud800"), call(tool="\ud800")):
            with pytest.raises(ValueError, match="surrogate"):
                await store.append("s_1", draft(event(1)), given)
        assert await store.append("s_1", draft(event(1)), call()) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio begins tasks in any order
async def test_an_append_behind_an_end_in_one_commit_is_refused(configure: Configure) -> None:
    async with open_file(configure()) as file:
        store = SqliteStore(file)
        await store.create(record())
        commits = await commits_of(file)
        ending = partial(store.end, "s_1", ("final", b"{}"), SessionState.COMPLETED, 1.0)
        append = partial(store.append, "s_1", draft(event(1)))
        first, ended, last, again = await at_once([append, ending, append, ending])  # type: ignore[list-item]
        assert (first, ended, again) == (1, True, False)
        assert isinstance(last, SessionEndedError)
        assert len(commits) == 1


async def test_a_cancelled_creation_leaves_no_session(configure: Configure) -> None:
    async with open_file(configure()) as file:
        store = SqliteStore(file)
        for steps in range(8):
            created: list[str] = []

            async def create(id: str = f"s_{steps}", created: list[str] = created) -> None:
                await store.create(record(id))
                created.append(id)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(create)
                for _ in range(steps):
                    await checkpoint()
                tasks.cancel_scope.cancel()
            assert [one.id for one in await store.list()] == created
            for id in created:
                await store.delete(id)


@pytest.mark.parametrize("ability", ["append", "admit"])
async def test_an_event_given_again_after_a_cancellation_is_there_once(
    configure: Configure, ability: str
) -> None:
    """Whoever was cancelled does not know whether it was written, and gives it again."""
    async with open_file(configure()) as file:
        store = SqliteStore(file)
        unheard = 0
        for steps in range(12):
            await store.create(record(id := f"s_{steps}"))
            given = draft(event(1, id))
            heard: list[object] = []

            async def write(
                id: str = id, given: Draft = given, heard: list[object] = heard
            ) -> None:
                if ability == "append":
                    heard.append(await store.append(id, given))
                else:
                    heard.append(await store.admit(id, given, [Window("k", "global", 99, 9.0)]))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                for _ in range(steps):
                    await checkpoint()
                tasks.cancel_scope.cancel()
            if not heard:
                unheard += len(await store.read(id))
                assert await store.append(id, given) == 1
            assert list(await store.read(id)) == [event(1, id)]
            # Another one of the same words is another event.
            assert await store.append(id, draft(event(1, id))) == 2
        assert unheard > 0


async def test_a_new_session_is_never_taken_for_one_left_open(configure: Configure) -> None:
    async with open_file(configure()) as file, anyio.create_task_group() as tasks:
        store, other = SqliteStore(file, 0.01), SqliteStore(file, 0.01)
        served = Served(store)
        tasks.start_soon(served.serve)
        for number in range(20):
            async with anyio.create_task_group() as both:
                both.start_soon(store.create, record(f"s_{number}"))
                # Somebody looks for what nobody holds, again and again.
                for _ in range(number):
                    await checkpoint()
                file.holders.give_up(other)
        assert served.taken_up == []
        served.stop_serving()


async def test_what_is_being_created_is_not_free(configure: Configure) -> None:
    """From its commit until the event loop hears of that, the file has it and nobody holds it."""
    async with open_file(configure()) as file:
        holders = file.holders
        with holders.creating("s_1"):
            assert not holders.free("s_1")
            holders.hold("s_1", "somebody")
        assert not holders.free("s_1")
        changed = holders.changed
        with holders.creating("s_2"):
            pass
        # It came to nothing: there may be one of that id to be taken up.
        assert holders.free("s_2")
        assert changed.is_set()


async def test_reading_does_not_wait_for_what_is_being_written(configure: Configure) -> None:
    async with open_file(configure()) as file:
        store = SqliteStore(file)
        await store.create(record())
        await store.append("s_1", draft(event(1)))
        writing = anyio.Event()
        go_on = threading.Event()

        def write() -> None:
            writing_loop(writing.set)
            assert go_on.wait(30)

        writing_loop = file.writer._loop.from_thread
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(file.writer.do, write)
            await writing.wait()
            with anyio.fail_after(10):
                assert list(await store.read("s_1")) == [event(1)]
            go_on.set()
