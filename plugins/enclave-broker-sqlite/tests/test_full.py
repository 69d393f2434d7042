"""Where there is no room left, nothing is half done, and all goes on when there is room again."""

from __future__ import annotations

import pytest
from enclave_broker_sqlite.file import open_file
from enclave_broker_sqlite.store import SqliteStore
from sqlite_files import Configure

from enclave_broker_core.errors import StoreError
from enclave_broker_core.models import Claim, Window
from enclave_broker_core.testing.samples import call, end, final, record

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
WINDOW = (Window("all", "global", 1000, 3600.0),)
LARGE = ("stdout", b"x" * 40_000)


async def fill(store: SqliteStore, session_id: str) -> int:
    """Append until there is no room; how many events that was."""
    for count in range(10_000):
        try:
            await store.append(session_id, LARGE, call(f"c_{count}"))
        except StoreError:
            return count
    raise AssertionError("it is never full")


async def test_what_is_full_refuses_and_goes_on_when_there_is_room(configure: Configure) -> None:
    config = configure(max_bytes=MIB)
    async with open_file(config) as file:
        store = SqliteStore(file)
        for id in ("s_1", "s_2"):
            await store.create(record(id))
        for _ in range(9):
            await store.append("s_1", LARGE)
        await end(store, final(10))
        count = await fill(store, "s_2")
        assert 5 < count < 25
        with pytest.raises(StoreError, match=r"broker\.db: there is no room left .* make room"):
            await store.append("s_2", LARGE)
        # What was refused has not happened in any part, and is not counted.
        with pytest.raises(StoreError):
            await store.admit("s_2", LARGE, WINDOW)
        with pytest.raises(StoreError):
            await store.create(record("s_3", metadata={"text": "x" * 40_000}))
        assert await store.get("s_3") is None
        assert list(await store.limiter.remaining(WINDOW)) == [1000]
        got = await store.get("s_2")
        assert got is not None
        assert (got.last_seq, got.tool_calls) == (count, count)
        assert [one.seq for one in await store.read("s_2")] == list(range(1, count + 1))
        assert len(await store.history("s_2")) == count
        # There is room again when something else is gone.
        assert await store.delete("s_1")
        assert await store.append("s_2", LARGE, call()) == count + 1
        assert await store.admit("s_2", ("stdout", b"{}"), WINDOW)
        assert list(await store.limiter.remaining(WINDOW)) == [999]
        await store.create(record("s_3"))
        assert await store.claim("s_3", "k", "f", seconds=10) == Claim("new")
    async with open_file(config) as file:
        store = SqliteStore(file)
        assert [one.seq for one in await store.read("s_2")] == list(range(1, count + 3))
        assert list(await store.limiter.remaining(WINDOW)) == [999]


async def test_a_larger_bound_makes_room_after_a_restart(configure: Configure) -> None:
    async with open_file(configure(max_bytes=MIB)) as file:
        store = SqliteStore(file)
        await store.create(record())
        count = await fill(store, "s_1")
    async with open_file(configure(max_bytes=2 * MIB)) as file:
        store = SqliteStore(file)
        file.holders.hold("s_1", store)
        assert await store.append("s_1", LARGE) == count + 1
