"""The store by itself: the suite of its contract, then its bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import SessionNotFoundError
from enclave_broker_core.session_store import SessionStore
from enclave_broker_core.testing.samples import call, end, event, events, final, ids, record, write
from enclave_broker_core.testing.stores import SessionStoreSuite
from pydantic import ValidationError

from enclave_broker_postgres.config import StoreConfig
from enclave_broker_postgres.store import open_store


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[SessionStore]:
    async with open_store(StoreConfig(**settings), OpenContext("store")) as store:
        yield store


class TestDictStore(SessionStoreSuite):
    max_claims = 1_000

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[SessionStore]:
        async with opened() as store:
            yield store


@pytest.mark.anyio
async def test_over_a_bound_the_oldest_events_and_calls_leave() -> None:
    async with opened(max_events=2, max_calls=1) as store:
        await store.create(record())
        for seq in (1, 2, 3):
            await write(store, event(seq), call=call(f"c_{seq}"))
        assert await store.read("s_1") == events(2, 3)
        assert [one.call_id for one in await store.history("s_1")] == ["c_3"]
        kept = await store.get("s_1")
        assert kept is not None
        assert (kept.last_seq, kept.tool_calls) == (3, 3)


@pytest.mark.anyio
async def test_over_a_bound_the_sessions_that_ended_first_leave() -> None:
    async with opened(max_ended=1) as store:
        for id in ("s_1", "s_2", "s_3"):
            await store.create(record(id))
        for id in ("s_2", "s_1"):
            await end(store, final(1, id))
        assert ids(await store.list(include_ended=True)) == ["s_1", "s_3"]
        assert ids(await store.list(include_ended=True, after="s_2")) == ["s_3"]
        await store.delete("s_1")
        # Who pages behind an id that was forgotten hears of it.
        with pytest.raises(SessionNotFoundError):
            await store.list(after="s_2")


@pytest.mark.parametrize("wrong", [{"max_events": 0}, {"grace": -1}, {"max_event": 10}])
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StoreConfig.model_validate(wrong)
