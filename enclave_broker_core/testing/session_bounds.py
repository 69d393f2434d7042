"""The part of the store suite that is about how many sessions may be open."""

from __future__ import annotations

import time
from functools import partial

import pytest

from enclave_broker_core.errors import TooManySessionsError

from .samples import CREATED_AT, at_once, end, final, ids, record
from .store_suite import StoreSuite


@pytest.mark.anyio
class SessionBoundSuite(StoreSuite):
    async def test_max_open_counts_the_sessions_that_have_not_ended(self) -> None:
        async with self.open_store() as store:
            await store.create(record("s_1"), max_open=2)
            await store.create(record("s_2"), max_open=2)
            with pytest.raises(TooManySessionsError):
                await store.create(record("s_3"), max_open=2)
            assert await store.get("s_3") is None
            await end(store, final(1))
            await store.create(record("s_3"), max_open=2)
            with pytest.raises(TooManySessionsError):
                await store.create(record("s_4"), max_open=2)
            await store.delete("s_2")
            await store.create(record("s_4"), max_open=2)
            await store.create(record("s_5"), max_open=None)
            assert ids(await store.list()) == ["s_3", "s_4", "s_5"]

    async def test_max_open_holds_when_many_create_at_once(self) -> None:
        async with self.open_store() as store:
            results = await at_once(
                [partial(store.create, record(f"s_{n}"), max_open=4) for n in range(12)]
            )
            refused = [result for result in results if result is not None]
            assert [type(result) for result in refused] == [TooManySessionsError] * 8
            assert len(await store.list()) == 4

    async def test_a_refusal_says_when_the_next_session_expires(self) -> None:
        async with self.open_store() as store:
            now = time.time()
            for id, lasts in (("s_ended", 60), ("s_long", 1800), ("s_next", 900)):
                await store.create(record(id, created_at=now, expires_at=now + lasts))
            await end(store, final(1, "s_ended"))
            with pytest.raises(TooManySessionsError) as refused:
                await store.create(record("s_more"), max_open=2)
            # Room for a slow machine: the sessions beside it are further away than that.
            assert refused.value.retry_after is not None
            assert 450 < refused.value.retry_after <= 900

    async def test_a_refusal_never_says_to_come_back_in_the_past(self) -> None:
        async with self.open_store() as store:
            await store.create(record("s_1", expires_at=CREATED_AT + 1))
            with pytest.raises(TooManySessionsError) as refused:
                await store.create(record("s_2"), max_open=1)
            assert refused.value.retry_after is not None
            assert refused.value.retry_after > 0
