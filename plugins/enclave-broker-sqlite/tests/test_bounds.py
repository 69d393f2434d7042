"""What the file keeps of each session, and that it does not grow for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from enclave_broker_sqlite.file import SqliteFile, open_file
from enclave_broker_sqlite.store import SqliteStore
from sqlite_files import Configure

from enclave_broker_core.errors import SessionNotFoundError
from enclave_broker_core.events import Event
from enclave_broker_core.models import Claim, Principal, Window
from enclave_broker_core.testing.samples import (
    ENDED_AT,
    call,
    draft,
    end,
    event,
    events,
    final,
    record,
    write,
)

pytestmark = pytest.mark.anyio


class Kept:
    """A store that keeps its bounds at each commit, and what is in its file."""

    def __init__(self, file: SqliteFile) -> None:
        file.ledger.folding.rows = 1
        self.file = file
        self.store = SqliteStore(file)

    async def tidied(self) -> None:
        """Let all that can wait be done."""
        while self.file.ledger.folding.due or self.file.ledger.sessions.leftovers:
            await self.store.check()

    async def read(self, *given: Any, **named: Any) -> list[Event]:
        await self.tidied()
        return list(await self.store.read("s_1", *given, **named))

    async def count(self, table: str) -> int:
        await self.tidied()

        def count(sql: Any) -> int:
            [found] = sql.execute(f"SELECT count(*) FROM {table}").fetchone()
            return int(found)

        return await self.file.reader.run(count)

    async def pages(self) -> int:
        await self.tidied()
        return await self.file.reader.run(
            lambda sql: int(sql.execute("PRAGMA page_count").fetchone()[0])
        )


@pytest.fixture
def kept(configure: Configure) -> Any:
    @asynccontextmanager
    async def kept(**settings: Any) -> AsyncIterator[Kept]:
        async with open_file(configure(**settings)) as file:
            yield Kept(file)

    return kept


def sized(seq: int, size: int) -> Event:
    return Event("s_1", seq, "stdout", b"x" * size)


async def test_over_max_events_the_oldest_leave_and_seq_goes_on(kept: Any) -> None:
    async with kept(max_events=3) as one:
        await one.store.create(record())
        await write(one.store, *events(1, 5))
        assert await one.read() == events(3, 5)
        assert await one.read(2, limit=1) == [event(3)]
        await write(one.store, *events(6, 20))
        await end(one.store, final(21))
        assert await one.read() == [*events(19, 20), final(21)]
        assert (await one.store.get("s_1")).last_seq == 21


async def test_a_full_log_leaves_an_eighth_at_a_time(kept: Any) -> None:
    async with kept(max_events=16) as one:
        await one.store.create(record())
        for seq in range(1, 18):
            await write(one.store, event(seq))
        assert await one.read() == events(4, 17)


async def test_over_max_event_bytes_the_oldest_leave_and_the_newest_stays(kept: Any) -> None:
    async with kept(max_event_bytes=100) as one:
        await one.store.create(record())
        for number, size in enumerate([60, 40, 1, 59, 1000, 10], 1):
            await write(one.store, sized(number, size))
            left = [len(item.payload_json) for item in await one.read()]
            assert left == [[60], [60, 40], [40, 1], [40, 1, 59], [1000], [10]][number - 1]


async def test_the_history_is_bounded_in_calls_and_in_bytes(kept: Any) -> None:
    async with kept(max_calls=2, max_call_bytes=100) as one:
        await one.store.create(record())
        for number, size in enumerate([60, 40, 1, 500, 3]):
            given = call(f"c_{number}", arguments_json=b"x" * size)
            await write(one.store, event(number + 1), call=given)
            await one.tidied()
            sizes = [len(item.arguments_json) for item in await one.store.history("s_1")]
            assert sizes == [[60], [60, 40], [40, 1], [500], [3]][number]
        assert (await one.store.get("s_1")).tool_calls == 5


async def test_bounds_go_on_after_a_restart(kept: Any) -> None:
    async with kept(max_events=4, max_event_bytes=100) as one:
        await one.store.create(record())
        for seq in (1, 2, 3):
            await write(one.store, sized(seq, 30))
    async with kept(max_events=4, max_event_bytes=100) as one:
        one.file.holders.hold("s_1", one.store)
        assert await one.store.append("s_1", draft(sized(4, 20))) == 4
        assert await one.read() == [sized(2, 30), sized(3, 30), sized(4, 20)]


async def test_only_max_ended_sessions_are_kept_the_first_that_ended_leave(kept: Any) -> None:
    async with kept(max_ended=2) as one:
        for number in range(5):
            await one.store.create(record(f"s_{number}"))
        for number, at in ((3, 0), (0, 1), (4, 2), (1, 3)):
            await end(one.store, final(1, f"s_{number}"), at=ENDED_AT + at)
        left = [item.id for item in await one.store.list(include_ended=True)]
        assert left == ["s_1", "s_2", "s_4"]
        with pytest.raises(SessionNotFoundError):
            await one.store.read("s_3")
        assert await one.store.sweep(ENDED_AT + 1000) == 2


async def test_the_answers_of_claims_are_bounded(kept: Any) -> None:
    async with kept(max_claim_bytes=100) as one:
        await one.store.create(record())
        for number, size in enumerate([60, 40, 1, 500]):
            await one.store.claim("s_1", f"k_{number}", "f", seconds=60)
            await one.store.settle("s_1", f"k_{number}", b"x" * size)
            assert await one.count("claims") == [1, 2, 2, 1][number]


async def test_nothing_is_left_of_sessions_that_have_gone(kept: Any) -> None:
    async with kept(max_ended=20, grace=10) as one:
        for number in range(90):
            id = f"s_{number}"
            await one.store.create(record(id, principal=Principal(id=f"u_{number % 7}")))
            await one.store.append(id, draft(event(1, id)), call(), answer=b"answer")
            await one.store.save(id, b"state", keep=["c_1"])
            await one.store.claim(id, "k", "f", seconds=60)
            if number % 3 == 0:
                await one.store.delete(id)
            else:
                await end(one.store, final(2, id), at=ENDED_AT + number)
        assert await one.count("sessions") == 20
        assert await one.store.sweep(ENDED_AT + 1000) == 20
        for table in ("sessions", "recent", "events", "calls", "claims", "saved", "answers"):
            assert (table, await one.count(table)) == (table, 0)
        assert await one.count("gone") <= 21


async def test_a_file_of_sessions_that_come_and_go_does_not_grow(kept: Any) -> None:
    async with kept(max_ended=10) as one:
        sizes = []
        for round in range(6):
            for number in range(20):
                id = f"s_{round}_{number}"
                await one.store.create(record(id))
                for seq in range(1, 11):
                    await one.store.append(id, ("stdout", b"x" * 1000), call(f"c_{seq}"))
                await end(one.store, final(11, id), at=ENDED_AT + 20 * round + number)
            sizes.append(await one.pages())
        assert max(sizes[2:]) <= 1.1 * sizes[1]


async def test_admissions_that_are_over_leave_the_file(configure: Configure) -> None:
    now = 0.0
    async with open_file(configure(), wall=lambda: 0.0, timer=lambda: now) as file:
        one = Kept(file)
        for number in range(300):
            now = float(number)
            own = Window(f"session:{number}", "session", 5, 8.0)
            assert await one.store.limiter.acquire((own, Window("all", "global", 10**6, 8.0)))
        # A row is removed some time after the last call in it is over.
        assert await one.count("admissions") < 100
        await one.store.sweep(0.0)
        assert await one.count("window_sets") < 20
        now = 1000.0
        for _ in range(9):
            await one.store.sweep(0.0)
        assert await one.count("window_sets") == 0
        assert await one.count("admissions") == 0


async def test_a_page_goes_on_from_what_was_moved_into_what_is_recent(kept: Any) -> None:
    async with kept() as one:
        await one.store.create(record())
        for seq in (1, 2, 3):
            await write(one.store, event(seq), call=call(f"c_{seq}"))
        await one.tidied()
        one.file.ledger.folding.rows = 1000
        for seq in (4, 5, 6):
            await write(one.store, event(seq), call=call(f"c_{seq}"))
        assert (await one.count("events"), await one.count("recent")) == (3, 3)
        for first, limit in ((1, 2), (2, 3), (1, 6), (3, 9), (4, 2), (6, 5), (7, 1)):
            last = min(6, first + limit - 1)
            assert await one.read(first, limit=limit) == events(first, last)
        ids = [item.call_id for item in await one.store.history("s_1")]
        assert ids == [f"c_{seq}" for seq in range(1, 7)]


async def test_a_claim_whose_time_is_over_is_not_settled(configure: Configure) -> None:
    now = 0.0
    async with open_file(configure(), wall=lambda: 0.0, timer=lambda: now) as file:
        store = SqliteStore(file)
        await store.create(record())
        assert await store.claim("s_1", "k", "f", seconds=10) == Claim("new")
        now = 10.0
        await store.settle("s_1", "k", b"late")
        assert await store.claim("s_1", "k", "f", seconds=10) == Claim("new")
        await store.settle("s_1", "k", b"done")
        now = 19.0
        assert await store.claim("s_1", "k", "f", seconds=10) == Claim("settled", b"done")
        now = 20.0
        await store.sweep(0.0)
        left = await file.reader.run(lambda sql: sql.execute("SELECT * FROM claims").fetchall())
        assert left == []
