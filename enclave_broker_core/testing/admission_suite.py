"""The suite for stores that count calls in the step that writes their first event."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from enclave_broker_core.errors import SessionEndedError, SessionLostError, SessionNotFoundError
from enclave_broker_core.models import Admission, Window

from .replica_suite import ReplicaSuite, lasting
from .samples import at_once, draft, end, event, events, final

WIDE = Window("wide", "global", 100, 1000.0)
NARROW = Window("narrow", "session", 3, 1000.0)


@pytest.mark.anyio
class AdmissionSuite(ReplicaSuite):
    """Every sentence of AdmittingStore as a test; its limiter has the suite of limiters.

    Subclass it as ``class TestMyStore(AdmissionSuite)`` and override ``open_backend``.
    """

    async def test_the_event_is_written_and_the_call_counted(self) -> None:
        async with self.served(1) as (_, (one,)):
            await one.store.create(lasting())
            for number in (1, 2, 3):
                got = await one.store.admit("s_1", draft(event(number)), [WIDE, NARROW])
                assert got == Admission()
            assert list(await one.store.read("s_1")) == events(1, 3)
            assert list(await one.store.limiter.remaining([WIDE, NARROW])) == [97, 0]

    async def test_a_refused_call_is_written_and_counts_nothing(self) -> None:
        async with self.served(1) as (_, (one,)):
            await one.store.create(lasting())
            for _ in range(3):
                await one.store.limiter.acquire([NARROW])
            got = await one.store.admit("s_1", draft(event(1)), [WIDE, NARROW])
            assert got.refused_by == NARROW
            assert 900 < got.retry_after <= 1000
            assert list(await one.store.read("s_1")) == events(1, 1)
            assert list(await one.store.limiter.remaining([WIDE, NARROW])) == [100, 0]

    async def test_without_a_log_to_write_to_nothing_is_counted(self) -> None:
        async with self.served(1) as (_, (one,)):
            with pytest.raises(SessionNotFoundError):
                await one.store.admit("s_none", draft(event(1)), [WIDE])
            await one.store.create(lasting())
            await end(one.store, final(1))
            with pytest.raises(SessionEndedError):
                await one.store.admit("s_1", draft(event(2)), [WIDE])
            assert list(await one.store.limiter.remaining([WIDE])) == [100]

    async def test_many_at_once_are_counted_exactly_and_written_in_order(self) -> None:
        async with self.served(2) as (_, served):
            for number, one in enumerate(served):
                await one.store.create(lasting(f"s_{number}"))

            async def admit(number: int) -> Any:
                store, name = served[number % 2].store, f"s_{number % 2}"
                return await store.admit(name, draft(event(1, name, by=number)), [WIDE, NARROW])

            got = await at_once([partial(admit, number) for number in range(40)])
            assert sum(bool(one) for one in got) == 3
            for number, one in enumerate(served):
                log = await one.store.read(f"s_{number}")
                assert [item.seq for item in log] == list(range(1, 21))
                assert sorted(item.payload["by"] for item in log) == list(range(number, 40, 2))
            assert list(await served[0].store.limiter.remaining([WIDE, NARROW])) == [97, 0]

    async def test_appends_and_admissions_take_their_places_in_the_order_they_began(self) -> None:
        async with self.served(1) as (_, (one,)):
            await one.store.create(lasting())
            began: list[int] = []

            async def write(number: int) -> int | None:
                item = draft(event(1, by=number))
                began.append(number)
                if number % 3:
                    seq: int = await one.store.append("s_1", item)
                    return seq
                await one.store.admit("s_1", item, [WIDE])
                return None

            seqs = await at_once([partial(write, number) for number in range(30)])
            log = {item.payload["by"]: item.seq for item in await one.store.read("s_1")}
            assert list(log) == began
            assert [log[number] for number in range(30) if number % 3] == [
                seq for seq in seqs if seq is not None
            ]

    async def test_who_lost_the_session_has_nothing_admitted(self) -> None:
        async with self.served(2) as (backend, (silent, other)):
            await silent.store.create(lasting())
            await backend.silence(silent.store)
            with anyio.fail_after(self.patience):
                await other.until(lambda: len(other.taken_up) == 1)
            with pytest.raises(SessionLostError):
                await silent.store.admit("s_1", draft(event(1)), [WIDE])
            assert list(await other.store.read("s_1")) == []
            assert list(await other.store.limiter.remaining([WIDE])) == [100]
            assert await other.store.admit("s_1", draft(event(1)), [WIDE]) == Admission()
