"""The store while its servers fail: nothing is half done for long, nothing is done twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from enclave_broker_redis.store import RedisStore, open_store
from engines import at_port, config, hasty
from redis_servers.cluster import Cluster, own_cluster
from redis_servers.server import Server
from tcp_proxy import ProxyThread

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import (
    SessionNotFoundError,
    StoreError,
    TooManySessionsError,
)
from enclave_broker_core.models import SessionState
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

PATIENCE = 20.0


@asynccontextmanager
async def opened(settings: Any) -> AsyncIterator[RedisStore]:
    async with open_store(settings, OpenContext("store")) as store:
        yield store


async def test_a_log_stays_whole_while_connections_are_cut(
    fragile: Server, network: ProxyThread
) -> None:
    async with opened(config(at_port(network.port))) as store:
        writers, each = 5, 40
        over = anyio.Event()
        for id in ("s_1", "s_2"):
            await store.create(record(id))
        taken: dict[str, dict[int, tuple[int, int]]] = {"s_1": {}, "s_2": {}}

        async def write_all(id: str, writer: int) -> None:
            for number in range(each):
                given = draft(event(0, by=[writer, number]))
                seq = await store.append(id, given, call(f"c_{writer}_{number}"))
                assert seq not in taken[id]
                taken[id][seq] = writer, number

        async def cut() -> None:
            while not over.is_set():
                await anyio.to_thread.run_sync(network.cut)
                await store.check()

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as cutting:
                cutting.start_soon(cut)
                async with anyio.create_task_group() as writing:
                    for writer in range(writers):
                        for id in taken:
                            writing.start_soon(write_all, id, writer)
                over.set()
        assert network.accepted > 3
        for id, places in taken.items():
            found = await store.read(id)
            assert [item.seq for item in found] == list(range(1, writers * each + 1))
            assert {item.seq: tuple(item.payload["by"]) for item in found} == places
            order = [item.call_id for item in await store.history(id)]
            assert order == [f"c_{w}_{n}" for w, n in (places[item.seq] for item in found)]


async def test_a_write_that_fails_leaves_no_gap(fragile: Server) -> None:
    async with opened(hasty(fragile.url)) as store:
        await store.create(record())
        await write(store, event(1))
        fragile.do("CONFIG", "SET", "maxmemory", "1")
        results = await at_once([lambda: store.append("s_1", draft(event(0)))] * 5)
        assert {type(result) for result in results} == {StoreError}
        assert await store.read("s_1") == events(1, 1)
        fragile.do("CONFIG", "SET", "maxmemory", "0")
        await write(store, event(2), call=call())
        await end(store, final(3))
        assert await store.read("s_1") == [*events(1, 2), final(3)]


async def test_a_server_that_forgot_all_is_begun_anew(fragile: Server) -> None:
    async with opened(config(fragile.url)) as store:
        for id in ("s_1", "s_2"):
            await store.create(record(id), max_open=2)
        await write(store, event(1))
        fragile.kill()
        fragile.start()
        assert await store.get("s_1") is None
        with pytest.raises(SessionNotFoundError):
            await store.append("s_1", draft(event(2)))
        with pytest.raises(SessionNotFoundError):
            await store.end("s_2", draft(final(1)), SessionState.FAILED, ENDED_AT)
        assert await store.list() == []


async def test_an_end_that_nobody_was_told_of_is_one_all_the_same(
    fragile: Server, network: ProxyThread
) -> None:
    async with opened(hasty(at_port(network.port))) as store:
        await store.create(record(), max_open=1)
        network.half_open()
        with pytest.raises(StoreError):
            await store.end("s_1", draft(final(1)), SessionState.COMPLETED, ENDED_AT)
        network.resume()
        network.cut()
        with anyio.fail_after(PATIENCE):
            # As the broker does it, until it has been told.
            while True:
                try:
                    await end(store, final(1))
                    break
                except StoreError:
                    await anyio.sleep(0.05)
        assert await store.read("s_1") == [final(1)]
        await store.create(record("s_2"), max_open=1)


# On a cluster the lists of all sessions are elsewhere


async def sessions_elsewhere(cluster: Cluster, store: RedisStore) -> list[str]:
    lists = cluster.owner(store.keys.order)
    names = [f"s_{number}" for number in range(30)]
    return [name for name in names if cluster.owner(store.keys.of(name, "s")) is not lists]


@asynccontextmanager
async def halves() -> AsyncIterator[tuple[Cluster, RedisStore, str, Server, Server]]:
    """A store on a cluster, a session's name, the node of that and the one of the lists."""
    with own_cluster() as cluster:
        settings = hasty(cluster.url, cluster=True, grace=3600.0)
        async with opened(settings) as store:
            name = (await sessions_elsewhere(cluster, store))[0]
            at = cluster.owner(store.keys.of(name, "s"))
            yield cluster, store, name, at, cluster.owner(store.keys.order)


async def again_until_done(act: Any) -> Any:
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                return await act()
            except StoreError:
                await anyio.sleep(0.05)


async def test_a_place_is_given_back_when_its_session_is_not_made() -> None:
    async with halves() as (_, store, name, node, _):
        node.pause()
        with pytest.raises(StoreError):
            await store.create(record(name), max_open=1)
        # As long as nobody knows whether it was made.
        with pytest.raises(TooManySessionsError):
            await store.create(record("s_more"), max_open=1)
        node.resume()

        async def create() -> None:
            while True:
                try:
                    await store.create(record("s_more"), max_open=1)
                    return
                except TooManySessionsError:
                    await store.sweep(ENDED_AT)

        await again_until_done(create)
        assert ids(await store.list()) == ["s_more"]
        assert await store.get(name) is None
        await store.create(record(name))


async def test_an_end_is_listed_when_the_lists_are_back() -> None:
    async with halves() as (_, store, name, _, lists):
        await store.create(record(name), max_open=1)
        lists.pause()
        await end(store, final(1, name))
        assert await store.read(name) == [final(1, name)]
        lists.resume()
        with pytest.raises(TooManySessionsError):
            await again_until_done(lambda: store.create(record("s_more"), max_open=1))
        assert await again_until_done(lambda: store.sweep(ENDED_AT)) == 0
        await again_until_done(lambda: store.create(record("s_more"), max_open=1))
        assert await store.sweep(ENDED_AT + 3601) == 1
