"""What a dead broker leaves half done, at any step, and what becomes of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import to_thread
from enclave_broker_redis.config import RedisConfig
from redis_brokers.judged import Judge
from redis_brokers.together import Replica, replicas
from redis_servers.endpoint import Endpoint

from enclave_broker_core import (
    BrokerError,
    SessionCancelledError,
    SessionSettings,
    SessionState,
    StoreError,
    TooManySessionsError,
)
from enclave_broker_core.events import final_error
from enclave_broker_core.models import RunStats

pytestmark = pytest.mark.anyio

LEASE = 0.6
PATIENCE = 30.0


@pytest.fixture
def config(server: Endpoint, prefix: str) -> RedisConfig:
    return RedisConfig(url=server.url, prefix=prefix, lease=LEASE)


@pytest.fixture
def judge(server: Endpoint, prefix: str) -> Iterator[Judge]:
    with server.client() as client:
        yield Judge(client, prefix)


@asynccontextmanager
async def all_clean(judge: Judge) -> AsyncIterator[None]:
    """After the block nothing is left but what has ended."""
    yield
    with anyio.fail_after(PATIENCE):
        while left := await to_thread.run_sync(judge.left):
            print(left)
            await anyio.sleep(0.05)


async def kinds(one: Replica, session_id: str) -> list[str]:
    with anyio.fail_after(PATIENCE):
        handle = await one.broker.get_session(session_id)
        return [event.type async for event in handle.events()]


async def test_a_place_for_a_session_that_was_never_made(
    config: RedisConfig, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SessionSettings(max_concurrent=1)
    async with all_clean(judge), replicas(config, 2, sessions=settings) as (here, there):
        begun, go_on = anyio.Event(), anyio.Event()
        create = here.store.writing.create

        async def late(*given: Any) -> bool:
            begun.set()
            await go_on.wait()
            return await create(*given)

        monkeypatch.setattr(here.store.writing, "create", late)
        errors: list[BrokerError] = []

        async def make() -> None:
            try:
                await here.broker.create_session(session_id="s_late")
            except BrokerError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(make)
            await begun.wait()
            here.silence()
            # Its place is free for another as soon as its lease is over.
            with anyio.fail_after(PATIENCE):
                while True:
                    try:
                        made = await there.broker.create_session()
                        break
                    except TooManySessionsError:
                        await anyio.sleep(0.05)
            go_on.set()
        assert len(errors) == 1
        assert await there.store.get("s_late") is None
        await made.complete()
        here.silence(silent=False)


async def test_an_end_that_was_written_and_not_listed(config: RedisConfig, judge: Judge) -> None:
    async with all_clean(judge), replicas(config, 2) as (here, there):
        session = await here.broker.create_session()
        final = final_error(SessionCancelledError("over"), RunStats(0.0, 0, 0))
        at = time.time()
        await here.store.writing.finish(session.id, final, SessionState.CANCELLED, at, ())
        here.silence()
        with anyio.fail_after(PATIENCE):
            while await listed_as_open(there):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert await kinds(there, session.id) == ["session_init", "final"]
        here.silence(silent=False)


async def listed_as_open(one: Replica) -> bool:
    keys = one.store.keys
    return bool(await one.store.engine.do("ZCARD", keys.open))


@pytest.mark.parametrize("first", ["end", "hand over"])
async def test_an_end_while_the_session_is_handed_over(config: RedisConfig, first: str) -> None:
    """Two heirs see to one estate when the first of them is slow."""
    async with replicas(config.model_copy(update={"lease": 60.0}), 2) as (here, there):
        session = await here.broker.create_session()
        index, keys = here.store.index, here.store.keys
        dead, heir = here.store.writing.replica, there.store.writing.replica
        whose = await index.whose(session.id)
        assert whose is not None
        if first == "hand over":
            await index.hand_over(session.id, whose, dead, heir)
        await index.conclude(session.id, whose, time.time())
        if first == "end":
            await index.hand_over(session.id, whose, dead, heir)
        for one in (dead, heir):
            assert await here.store.engine.do("SMEMBERS", keys.holds(one)) == []
        assert not await listed_as_open(here)


async def test_an_heir_that_dies_in_the_middle(config: RedisConfig, judge: Judge) -> None:
    """It has given the session a token of its own, and told the lists nothing of it."""
    async with all_clean(judge), replicas(config, 3) as (here, heir, third):
        session = await here.broker.create_session()
        here.silence()
        heir.silence()
        token = here.store.writing.token(session.id)
        assert token is not None
        await heir.store.writing.take(session.id, token, heir.store.writing.new_token())
        assert await kinds(third, session.id) == ["session_init", "final"]
        for one in (here, heir):
            one.silence(silent=False)
        with anyio.fail_after(PATIENCE):
            await session.ended.wait()


async def test_a_session_that_the_heir_can_not_end_at_first(
    config: RedisConfig, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with all_clean(judge), replicas(config, 2) as (here, there):
        sessions = [await here.broker.create_session() for _ in range(5)]
        end, failed = there.store.end, []

        async def fails(session_id: str, *given: Any) -> bool:
            if len(failed) < 7:
                failed.append(session_id)
                raise StoreError("not now", retry_after=0.1)
            return await end(session_id, *given)

        monkeypatch.setattr(there.store, "end", fails)
        here.silence()
        for session in sessions:
            assert await kinds(there, session.id) == ["session_init", "final"]
        assert len(failed) == 7
        here.silence(silent=False)


async def test_what_is_left_when_all_have_gone_is_seen_to_by_the_next(
    config: RedisConfig, judge: Judge
) -> None:
    async with replicas(config, 1) as [last]:
        session = await last.broker.create_session()
        last.silence()
        with anyio.fail_after(PATIENCE):
            while await last.lives():  # noqa: ASYNC110
                await anyio.sleep(0.05)
        async with all_clean(judge), replicas(config, 1) as [next_one]:
            assert await kinds(next_one, session.id) == ["session_init", "final"]
