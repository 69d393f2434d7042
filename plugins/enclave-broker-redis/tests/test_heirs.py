"""What an heir finds, and what a replica still does when it has been taken for dead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from enclave_broker_redis.config import RedisConfig
from enclave_broker_redis.store import RedisStore, open_store
from engines import config
from redis_brokers.together import replicas
from redis_servers.endpoint import Endpoint

from enclave_broker_core import SessionState, StoreError
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.samples import record

pytestmark = pytest.mark.anyio

PATIENCE = 30.0


@asynccontextmanager
async def opened(server: Endpoint, prefix: str, **settings: Any) -> AsyncIterator[RedisStore]:
    async with open_store(config(server.url, prefix=prefix, **settings), OpenContext("s")) as store:
        yield store


async def test_an_end_of_which_the_heir_was_not_told(
    server: Endpoint, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written, and the connection broke before it could be listed."""
    shared = RedisConfig(url=server.url, prefix=prefix, lease=0.6)
    async with replicas(shared, 2) as (here, there):
        session = await here.broker.create_session()
        finish, lost = there.store.writing.finish, []

        async def unanswered(*given: Any) -> None:
            hold = there.store.writing._held[given[0]]
            await finish(*given)
            there.store.writing._held[given[0]] = hold
            lost.append(given[0])
            raise StoreError("lost before it was answered", retry_after=0.1)

        monkeypatch.setattr(there.store.writing, "finish", unanswered)
        here.silence()
        keys = there.store.keys
        with anyio.fail_after(PATIENCE):
            while not lost or await there.store.engine.do("ZCARD", keys.open):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert lost == [session.id]
        assert await there.store.engine.do("ZCARD", keys.ended) == 1
        assert not there.store.writing.holds(session.id)
        record = (await there.broker.get_session(session.id)).info()
        assert record.state is SessionState.FAILED
        here.silence(silent=False)


async def test_what_was_begun_under_a_name_goes_on_under_it(server: Endpoint, prefix: str) -> None:
    """Else an heir would take it for held by somebody who lives, who does not hold it."""
    async with opened(server, prefix) as store:
        await store.create(record())
        hold, before = store.writing._held["s_1"], store.writing.replica
        store.writing.rename("another")
        await hold._recover()
        assert hold.token.partition(".")[0] == before
