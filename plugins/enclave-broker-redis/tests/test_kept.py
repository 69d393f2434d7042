"""What the store keeps of a session: as much as the memory store does, and states of code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.store import MemoryStore
from enclave_broker_redis.ops import Op, Script, call_of
from enclave_broker_redis.store import RedisStore, open_store
from engines import config
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_servers.cluster import Cluster
from redis_servers.endpoint import Endpoint

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import (
    SessionEndedError,
    SessionLostError,
    SessionNotFoundError,
    TooManySessionsError,
)
from enclave_broker_core.models import Principal, SessionState, Window
from enclave_broker_core.store_abilities import Saved
from enclave_broker_core.testing.samples import (
    ENDED_AT,
    at_once,
    call,
    draft,
    end,
    event,
    events,
    final,
    ids,
    record,
    write,
)

pytestmark = pytest.mark.anyio

ADA = Principal(id="ada", tenant="acme")


@asynccontextmanager
async def opened(server: Endpoint, prefix: str, **settings: Any) -> AsyncIterator[RedisStore]:
    async with open_store(config(server.url, prefix=prefix, **settings), OpenContext("s")) as store:
        yield store


BOUNDS = {"max_events": 20, "max_event_bytes": 300, "max_calls": 10, "max_call_bytes": 120}
SIZES = st.one_of(st.integers(2, 40), st.integers(200, 400))


@given(appended=st.lists(st.tuples(SIZES, st.none() | SIZES), min_size=1, max_size=80))
@settings(max_examples=40, deadline=None)
def test_as_much_is_kept_as_in_memory(
    server: Endpoint, appended: list[tuple[int, int | None]]
) -> None:
    async def compare() -> None:
        memory = MemoryStore(MemoryStoreConfig(**BOUNDS))
        async with opened(server, "test:kept:", **BOUNDS) as store:
            try:
                for kept in (memory, store):
                    await kept.create(record())
                for number, (size, arguments) in enumerate(appended, 1):
                    done: CallRecord | None = None
                    if arguments is not None:
                        done = call(f"c_{number}", arguments_json=b"x" * arguments)
                    for kept in (memory, store):
                        assert await kept.append("s_1", ("log", b"y" * size), done) == number
                for kept in (memory, store):
                    await end(kept, final(len(appended) + 1))
                assert list(await store.read("s_1")) == list(await memory.read("s_1"))
                assert list(await store.history("s_1")) == list(await memory.history("s_1"))
                assert await store.get("s_1") == await memory.get("s_1")
            finally:
                await store.delete("s_1")

    anyio.run(compare)


async def test_no_key_outlives_its_session(server: Endpoint, prefix: str) -> None:
    async with opened(server, prefix) as store:
        for name in ("s_1", "s_2"):
            await store.create(record(name, principal=ADA), max_open=2)
            await write(store, event(1, name), call=call())
            await store.claim(name, "k", "f", seconds=60)
            await store.claim(name, "other", "f", seconds=60)
            await store.settle(name, "k", b"done")
            await store.save(name, b"state")
        await end(store, final(2))
        assert await store.delete("s_1")
        assert await store.delete("s_2")
        with server.client() as client:
            left = set(client.scan_iter(f"{prefix}*"))
        # The number of sessions so far, and those that a page may have ended with.
        assert left == {store.keys.number, store.keys.gone, store.keys.replicas}


async def test_what_has_ended_goes_by_itself(server: Endpoint, prefix: str) -> None:
    async with opened(server, prefix, grace=3600.0) as store:
        await store.create(record())
        await write(store, event(1), call=call())
        for key in ("pending", "settled"):
            await store.claim("s_1", key, "f", seconds=1e6)
        await store.settle("s_1", "settled", b"done")
        await end(store, final(2))
        # Also what comes only now.
        await store.claim("s_1", "late", "f", seconds=1e6)
        await store.settle("s_1", "late", b"done")
        with server.client() as client:
            keys = list(client.scan_iter(f"{prefix}:{{s_1}}:*"))
            assert len(keys) == 8
            assert {0 < client.ttl(key) <= 3600 for key in keys} == {True}


async def test_over_max_ended_the_first_that_ended_leave(server: Endpoint, prefix: str) -> None:
    async with opened(server, prefix, max_ended=3) as store:
        for number in range(6):
            await store.create(record(f"s_{number}"))
        for place, number in enumerate((4, 1, 0, 5, 2)):
            await end(store, final(1, f"s_{number}"), at=ENDED_AT + place)
        assert ids(await store.list(include_ended=True)) == ["s_0", "s_2", "s_3", "s_5"]
        assert await store.get("s_4") is None


async def test_a_log_that_somebody_has_emptied_goes_on(server: Endpoint, prefix: str) -> None:
    async with opened(server, prefix, max_event_bytes=100, max_events=8) as store:
        await store.create(record())
        for seq in range(1, 40):
            if seq % 5 == 0:
                server.do("DEL", store.keys.of("s_1", "e"))
            assert await store.append("s_1", ("log", b"x" * 30)) == seq
        found = [item.seq for item in await store.read("s_1")]
        assert found == list(range(39 - len(found) + 1, 40))
        assert 1 <= len(found) <= 3


async def test_answers_over_the_bytes_leave_first(server: Endpoint, prefix: str) -> None:
    async with opened(server, prefix, max_claim_bytes=100) as store:
        await store.create(record())
        for number, size in enumerate((60, 40, 1)):
            await store.claim("s_1", f"k_{number}", "f", seconds=60)
            await store.settle("s_1", f"k_{number}", b"x" * size)
        assert (await store.claim("s_1", "k_0", "f", seconds=60)).state == "new"
        assert (await store.claim("s_1", "k_1", "f", seconds=60)).answer == b"x" * 40
        await store.claim("s_1", "large", "f", seconds=60)
        await store.settle("s_1", "large", b"x" * 500)
        assert (await store.claim("s_1", "large", "f", seconds=60)).answer == b"x" * 500
        assert (await store.claim("s_1", "k_2", "f", seconds=60)).state == "new"
        assert (await store.claim("s_1", "k_0", "f", seconds=60)).state == "pending"


async def test_a_long_list_is_read_in_pages(server: Endpoint, prefix: str) -> None:
    async with opened(server, prefix, max_ended=2000) as store:
        names = [f"s_{number}" for number in range(1100)]
        for some in range(0, 1100, 100):
            await at_once(
                [partial(store.create, record(name)) for name in names[some : some + 100]]
            )
        order = ids(await store.list(limit=2000))
        assert sorted(order) == sorted(names)
        # So many ended ones that one look does not get past them.
        for some in range(0, 1000, 100):
            ended = [partial(end, store, final(1, name)) for name in order[some : some + 100]]
            assert await at_once(ended) == [None] * 100
        assert ids(await store.list(limit=5)) == order[1000:1005]
        assert ids(await store.list(limit=5, after=order[500])) == order[1000:1005]
        assert ids(await store.list(limit=500, after=order[1050])) == order[1051:]
        assert ids(await store.list(limit=2000, include_ended=True)) == order


async def test_states_and_answers_of_code(server: Endpoint, prefix: str) -> None:
    async with opened(server, prefix) as store, opened(server, prefix) as other:
        await store.create(record())
        assert await store.saved("s_1") is None
        state = bytes(range(256)) * 400
        await store.save("s_1", state)
        for number in (1, 2, 3):
            await store.append(
                "s_1", draft(event(number)), call(f"c_{number}"), answer=b"%d" % number
            )
        assert await other.saved("s_1") == Saved(state, {f"c_{n}": b"%d" % n for n in (1, 2, 3)})
        await store.save("s_1", b"second", keep=["c_2", "c_9"])
        assert await other.saved("s_1") == Saved(b"second", {"c_2": b"2"})
        with pytest.raises(SessionLostError):
            await other.save("s_1", b"not mine")
        await end(store, final(4))
        assert await other.saved("s_1") is None
        for each in (store, other):
            with pytest.raises(SessionEndedError):
                await each.save("s_1", b"late")
        for act in (store.saved("s_2"), store.save("s_2", b"")):
            with pytest.raises(SessionNotFoundError):
                await act


async def test_saves_have_their_place_among_the_appends(server: Endpoint, prefix: str) -> None:
    async with opened(server, prefix) as store:
        await store.create(record())

        async def append(number: int) -> None:
            await store.append("s_1", draft(event(number)), call(f"c_{number}"), answer=b"")

        async def save() -> None:
            await store.save("s_1", b"state")

        acts = [partial(append, 1), partial(append, 2), save, partial(append, 3)]
        assert await at_once(acts) == [None] * 4
        assert await store.saved("s_1") == Saved(b"state", {"c_3": b""})


async def test_one_that_was_taken_is_lost_and_changes_nothing(
    server: Endpoint, prefix: str
) -> None:
    class Holder:
        def __init__(self) -> None:
            self.told: list[str] = []

        def lost(self, session_id: str) -> None:
            self.told.append(session_id)

    async with opened(server, prefix) as store, opened(server, prefix) as other:
        holder: Any = Holder()
        store.writing.holder = holder
        await store.create(record())
        await write(store, event(1))
        held, token = store.writing.token("s_1") or "", other.writing.new_token()
        assert await other.writing.take("s_1", held, token) == (1, 0)
        # Once is enough, and twice does no harm; a third one has come too late.
        assert await other.writing.take("s_1", held, token) == (1, 0)
        with pytest.raises(SessionLostError):
            await store.writing.take("s_1", held, "x.1")
        other.writing.hold("s_1", token, 1)
        for act in (
            partial(store.append, "s_1", draft(event(2)), call()),
            partial(store.end, "s_1", draft(final(2)), SessionState.FAILED, ENDED_AT),
            partial(store.save, "s_1", b"state"),
        ):
            with pytest.raises(SessionLostError):
                await act()
        assert holder.told == ["s_1"]
        assert list(await other.read("s_1")) == events(1, 1)
        assert await other.saved("s_1") is None
        await write(other, event(2))
        assert list(await store.read("s_1")) == events(1, 2)


@pytest.mark.parametrize("servers", ["one", "three"])
async def test_bounds_hold_for_all_processes_together(
    servers: str, request: pytest.FixtureRequest, prefix: str
) -> None:
    at: Endpoint | Cluster = request.getfixturevalue("server" if servers == "one" else "cluster")
    settings = config(at.url, prefix=prefix, cluster=servers == "three")
    async with (
        open_store(settings, OpenContext("s")) as one,
        open_store(settings, OpenContext("s")) as other,
    ):
        results = await at_once(
            [
                partial((one, other)[n % 2].create, record(f"s_{n}", principal=ADA), **bound)
                for n in range(20)
                for bound in [{"max_open": 7}]
            ]
        )
        refused = [result for result in results if result is not None]
        assert [type(result) for result in refused] == [TooManySessionsError] * 13
        assert len(await one.list()) == 7
        for store in (one, other):
            with pytest.raises(TooManySessionsError, match="ada"):
                await store.create(record("s_more", principal=ADA), max_of_principal=7)


async def test_what_is_sent_twice_happens_once(server: Endpoint, prefix: str) -> None:
    async with opened(server, prefix) as store, opened(server, prefix) as other:
        run = store.engine.run
        sent: list[tuple[Any, ...]] = []

        def twice(*asked: Any) -> Any:
            sent.append(asked)
            run(*asked)
            return run(*asked)

        store.engine.run = twice  # type: ignore[method-assign]
        await store.create(record(principal=ADA), max_open=1, max_of_principal=1)
        for seq in (1, 2):
            assert await store.append("s_1", draft(event(seq)), call(f"c_{seq}")) == seq
        for key in ("settled", "released"):
            assert (await store.claim("s_1", key, "f", seconds=60)).state == "new"
            assert (await other.claim("s_1", key, "f", seconds=60)).state == "pending"
        await store.settle("s_1", "settled", b"done")
        await store.release("s_1", "released")
        assert (await other.claim("s_1", "settled", "f", seconds=60)).answer == b"done"
        assert (await other.claim("s_1", "released", "f", seconds=60)).state == "new"
        await store.save("s_1", b"state")
        await end(store, final(3))
        assert list(await other.read("s_1")) == [*events(1, 2), final(3)]
        assert [item.call_id for item in await other.history("s_1")] == ["c_1", "c_2"]
        await store.create(record("s_2", principal=ADA), max_open=1, max_of_principal=1)
        await store.sweep(ENDED_AT + 1e6)
        assert await store.get("s_1") is None
        assert len({asked[0].name for asked in sent}) >= 10


async def test_a_creation_that_was_undone_does_not_happen_later(
    server: Endpoint, prefix: str
) -> None:
    async with opened(server, prefix) as store:
        await store.writing.undo("s_1", "one")
        assert not await store.writing.create(record(), "one")
        assert await store.get("s_1") is None
        assert await store.writing.create(record(), "two")
        # It undoes only what it is meant for.
        await store.writing.undo("s_1", "one")
        assert await store.get("s_1") == record()
        await store.writing.undo("s_1", "two")
        assert await store.get("s_1") is None


async def test_calls_whose_answers_were_lost_are_counted_once(
    server: Endpoint, prefix: str
) -> None:
    """They are sent again together, when the last of them has been admitted too."""
    windows = (Window("session:s_1", "session", 2, 1000.0),)
    async with opened(server, prefix) as store:
        await store.create(record())
        run, again = store.engine.run, list[Op]()

        def late(script: Script, *asked: Any) -> Op:
            op = run(script, *asked)
            if script.name != "admit" or len(again) == 3:
                return op
            again.append(call_of(script, *asked))
            if len(again) == 3:
                for one in again:
                    store.engine.submit(one)
            return again[-1]

        store.engine.run = late  # type: ignore[method-assign]
        acts = [partial(store.admit, "s_1", draft(event(seq)), windows) for seq in (1, 2, 3)]
        assert [one.refused_by for one in await at_once(acts)] == [None, None, windows[0]]
        assert list(await store.read("s_1")) == events(1, 3)
        assert await store.limiter.remaining(windows) == [0]
