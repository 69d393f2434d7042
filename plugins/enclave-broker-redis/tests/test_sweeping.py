"""Several processes forget what has ended, each by itself, while others go on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from enclave_broker_redis.store import RedisStore, open_store
from engines import config
from redis_servers.endpoint import Endpoint

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.samples import ENDED_AT, end, event, events, final, record, write

pytestmark = pytest.mark.anyio

ADA = Principal(id="ada", tenant="acme")
LATER = ENDED_AT + 1e6


@asynccontextmanager
async def opened(server: Endpoint, prefix: str, **settings: Any) -> AsyncIterator[RedisStore]:
    async with open_store(config(server.url, prefix=prefix, **settings), OpenContext("s")) as store:
        yield store


async def test_who_is_slow_does_not_forget_what_has_the_id_now(
    server: Endpoint, prefix: str
) -> None:
    """It looks for what has ended, and when it comes to it the id is another session's."""
    async with opened(server, prefix) as one, opened(server, prefix) as slow:
        await one.create(record(principal=ADA))
        await end(one, final(1))
        looked = slow.index.ended_before

        async def late(at: float) -> list[str]:
            found = await looked(at)
            if found:
                await one.sweep(LATER)
                await one.create(record(principal=ADA))
                await write(one, event(1))
            return found

        slow.index.ended_before = late  # type: ignore[method-assign]
        assert await slow.sweep(LATER) == 0
        assert list(await one.read("s_1")) == events(1, 1)
        assert [found.id for found in await slow.list(principal_id="ada")] == ["s_1"]
        # Nor what is only about to be made.
        slow.index.ended_before = looked  # type: ignore[method-assign]
        await write(one, event(2))
        assert await slow.sweep(LATER) == 0
        await end(one, final(3))
        assert await slow.sweep(LATER) == 1


async def test_a_place_that_was_taken_anew_is_not_given_back(server: Endpoint, prefix: str) -> None:
    async with opened(server, prefix) as one, opened(server, prefix) as slow:
        create, made = one.writing.create, []

        async def swept_first(*given: Any) -> bool:
            made.append(await slow._forget("s_1"))
            return await create(*given)

        one.writing.create = swept_first  # type: ignore[method-assign]
        await one.create(record())
        assert made == [False]
        assert [found.id for found in await slow.list()] == ["s_1"]


async def test_ends_while_it_is_swept(
    server: Endpoint, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were to be listed were, by whoever ended them, before it was their turn."""
    async with opened(server, prefix) as store:
        gate, waiting = anyio.Event(), anyio.Event()
        whose = store.index.whose

        async def slow(session_id: str) -> Any:
            waiting.set()
            await gate.wait()
            return await whose(session_id)

        for number in (1, 2):
            await store.create(record(f"s_{number}"))
        monkeypatch.setattr(store.index, "whose", slow)
        async with anyio.create_task_group() as tasks:
            for number in (1, 2):
                tasks.start_soon(end, store, final(1, session_id=f"s_{number}"))
            await waiting.wait()
            while len(store._unlisted) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.001)
            tasks.start_soon(store.sweep, time.time() - 1e9)
            gate.set()


async def test_what_nobody_is_known_to_have_is_looked_at_once(
    server: Endpoint, prefix: str
) -> None:
    """As when a server that was short of memory has thrown a key away."""
    async with opened(server, prefix) as store:
        await store.create(record())
        await end(store, final(1))
        await store.engine.do("DEL", store.keys.whose)
        with anyio.fail_after(10):
            assert await store.sweep(LATER) == 0
