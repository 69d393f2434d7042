"""Servers and networks fail in many ways: there are clear errors, and then it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import anyio
import pytest
import redis
from enclave_broker_redis.engine import Engine, open_engine
from enclave_broker_redis.failures import meaning_of
from enclave_broker_redis.ops import Op, Script
from engines import TIMEOUT, Inline, at_port, hasty, outcome, until_done
from redis_servers.cluster import Cluster, own_cluster
from redis_servers.endpoint import until
from redis_servers.server import Server, own_server
from tcp_proxy import ProxyThread

from enclave_broker_core.errors import StoreError

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


@contextmanager
def soon() -> Iterator[None]:
    with anyio.fail_after(PATIENCE):
        yield


# Keeps the server busy for a third of a second.
SLOW = """
    local function now() local t = redis.call('TIME') return t[1] + t[2] / 1e6 end
    local began = now()
    while now() - began < 0.35 do end
    return redis.call('INCR', KEYS[1])"""
# As a session's log: each only at its place.
IN_PLACE = """
    local last = tonumber(redis.call('GET', KEYS[1]) or 0)
    local place = tonumber(ARGV[1])
    if place > last + 1 then return -1 end
    if place == last + 1 then redis.call('SET', KEYS[1], place) end
    return 1"""


async def test_a_restart_with_an_empty_memory_in_the_middle_of_traffic(fragile: Server) -> None:
    async with open_engine(hasty(fragile.url)) as engine:
        answers: list[object] = []
        over = anyio.Event()

        async def work(number: int) -> None:
            while not over.is_set():
                answers.append(await outcome(engine.run(Script("remove"), [f"k:{number}"], [])))

        with soon():
            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    tasks.start_soon(work, number)
                for end in (fragile.stop, fragile.kill):
                    await anyio.to_thread.run_sync(end)
                    await anyio.to_thread.run_sync(fragile.start)
                    # Without the script, which it has to be told again.
                    assert await until_done(lambda: engine.do("EXISTS", "k:1")) == 0
                over.set()
        assert {type(answer) for answer in answers} <= {int, StoreError}
        assert await engine.run(Script("remove"), ["k:1"], []) == 0


async def test_a_server_that_stays_away_is_soon_given_up(fragile: Server) -> None:
    async with open_engine(hasty(fragile.url)) as engine:
        fragile.stop()
        with soon():
            first = await outcome(engine.do("GET", "key"))
            assert isinstance(first, StoreError)
            assert "can't be reached" in first.message
            assert first.retry_after is not None
            # From now on nobody waits: what is asked for fails while it is asked for.
            op = engine.do("GET", "key")
            await anyio.lowlevel.checkpoint()
            assert op.failed
            assert isinstance(await outcome(op), StoreError)
            fragile.start()
            assert await until_done(lambda: engine.do("SET", "key", "1")) == b"OK"


async def test_what_was_cut_off_is_done_again_if_it_may_be(
    fragile: Server, network: ProxyThread
) -> None:
    async with open_engine(hasty(at_port(network.port), retry_for=PATIENCE)) as engine:
        await engine.do("SET", "key", "0")
        network.half_open()
        once = engine.do("INCR", "once", again=False)
        often = [engine.do("SET", f"key:{number}", number) for number in range(20)]
        with soon():
            refused = await outcome(once)
            assert isinstance(refused, StoreError)
            assert "before it answered" in refused.message
            assert not any(op.done for op in often)
            network.resume()
            network.cut()
            assert [await op for op in often] == [b"OK"] * 20
        assert fragile.do("GET", "once") is None
        assert fragile.do("GET", "key:19") == "19"


async def test_what_waits_for_a_connection_may_be_sent_all_the_same(
    fragile: Server, network: ProxyThread
) -> None:
    async with open_engine(hasty(at_port(network.port), retry_for=PATIENCE)) as engine:
        network.refuse()
        network.cut()
        with soon():
            # This one is sent into a connection that has ended, and shows that it has.
            assert isinstance(await outcome(engine.do("INCR", "key", again=False)), StoreError)
            asked = [engine.do("INCR", "key", again=False) for _ in range(5)]
            await anyio.lowlevel.checkpoint()
            assert not any(op.done for op in asked)
            network.resume()
            assert [await op for op in asked] == [1, 2, 3, 4, 5]


async def test_order_is_kept_when_connections_break(fragile: Server, network: ProxyThread) -> None:
    script = Inline(IN_PLACE)
    async with open_engine(hasty(at_port(network.port), retry_for=PATIENCE)) as engine:
        place = 0
        with soon():
            for _ in range(6):
                asked: list[Op] = []
                for _ in range(40):
                    place += 1
                    asked.append(engine.run(script, ["key"], [place]))
                    await anyio.lowlevel.checkpoint()
                await anyio.to_thread.run_sync(network.cut)
                assert {await op for op in asked} == {1}
        assert fragile.do("GET", "key") == str(place)


async def test_silence_is_noticed(fragile: Server, network: ProxyThread) -> None:
    async with open_engine(hasty(at_port(network.port))) as engine:
        await engine.do("SET", "key", "1")
        network.half_open()
        with soon():
            began = anyio.current_time()
            refused = await outcome(engine.do("GET", "key"))
            assert isinstance(refused, StoreError)
            assert anyio.current_time() - began >= TIMEOUT
            network.resume()
            assert await until_done(lambda: engine.do("GET", "key")) == b"1"


async def test_a_server_that_only_is_slow_is_waited_for(fragile: Server) -> None:
    async with open_engine(hasty(fragile.url, timeout=PATIENCE)) as engine:
        fragile.pause()
        asked = [engine.do("INCR", "key", again=False) for _ in range(3)]
        await anyio.sleep(0.3)
        assert not any(op.done for op in asked)
        fragile.resume()
        with soon():
            assert [await op for op in asked] == [1, 2, 3]


async def test_a_replica_is_not_written_to(fragile: Server) -> None:
    async with open_engine(hasty(fragile.url)) as engine:
        await engine.do("SET", "key", "1")
        fragile.do("REPLICAOF", "127.0.0.1", "1")
        with soon():
            refused = await outcome(engine.do("SET", "key", "2", again=False))
            assert isinstance(refused, StoreError)
            assert "READONLY" in refused.message
            fragile.do("REPLICAOF", "NO", "ONE")
            assert await until_done(lambda: engine.do("SET", "key", "3")) == b"OK"


async def test_a_full_memory_is_told_and_can_be_emptied(fragile: Server) -> None:
    async with open_engine(hasty(fragile.url)) as engine:
        fragile.do("CONFIG", "SET", "maxmemory", "1")
        with soon():
            add = Inline("return redis.call('INCR', KEYS[1])")
            refused = await outcome(engine.run(add, ["key"], []))
            assert isinstance(refused, StoreError)
            assert "maxmemory" in refused.message
            assert fragile.do("DBSIZE") == 0
            # What needs no memory goes on.
            assert await engine.do("GET", "key") is None
            fragile.do("CONFIG", "SET", "maxmemory", "0")
            assert await engine.run(add, ["key"], []) == 1


async def test_a_server_that_is_busy_is_asked_later(fragile: Server) -> None:
    fragile.do("CONFIG", "SET", "lua-time-limit", "10")
    async with (
        open_engine(hasty(fragile.url, timeout=PATIENCE, retry_for=PATIENCE)) as one,
        open_engine(hasty(fragile.url, timeout=PATIENCE, retry_for=PATIENCE)) as other,
    ):
        with soon():
            slow = one.run(Inline(SLOW, again=False), ["key"], [])
            while not slow.done:
                asked = other.do("INCR", "other", again=False)
                assert isinstance(await asked, int)
            assert await slow == 1


async def test_a_server_that_loads_its_data_is_asked_later() -> None:
    # It reads its keys back so slowly, and looks around so often, that it can be asked meanwhile.
    with own_server("key-load-delay 2000", "rdbcompression no") as server:
        async with open_engine(hasty(server.url, retry_for=PATIENCE)) as engine:
            for number in range(200):
                engine.do("SET", f"key:{number}", "x" * 100_000)
            await engine.do("SET", "number", "0")
            server.do("SAVE")
            server.kill()
            with soon():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anyio.to_thread.run_sync, server.start)
                    await anyio.to_thread.run_sync(until, partial(loads, server), "the loading")
                    asked = [engine.do("INCR", "number") for _ in range(20)]
                    assert sorted([await op for op in asked]) == [*range(1, 21)]
                assert await engine.do("GET", "number") == b"20"


def loads(server: Server) -> bool:
    try:
        server.do("GET", "number")
    except redis.exceptions.BusyLoadingError:
        return True
    return False


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("LOADING Redis is loading the dataset in memory", "later"),
        ("CLUSTERDOWN The cluster is down", "later"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "later"),
        ("MASTERDOWN Link with MASTER is down", "later"),
        ("NOREPLICAS Not enough good replicas to write.", "later"),
        ("READONLY You can't write against a read only replica.", "primary"),
        # Within scripts, as 7 and 6.2 have it.
        ("READONLY You can't write against a read only replica. script: a, on b:1.", "primary"),
        (
            "ERR Error running script (call to f_1): @user_script:4: -READONLY You can't write.",
            "primary",
        ),
        ("NOSCRIPT No matching script. Please use EVAL.", "script"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "failed"),
        ("ERR value is not an integer or out of range", "failed"),
        ("ERR it says READONLY somewhere", "failed"),
    ],
)
def test_what_errors_mean(message: str, meaning: str) -> None:
    problem = redis.connection.DefaultParser.parse_error(message)
    assert meaning_of(problem) == meaning


# Clusters


async def move_slot(cluster: Cluster, slot: int, to: int) -> None:
    for node in cluster.nodes:
        target = cluster.nodes[to].do("CLUSTER", "MYID")
        node.do("CLUSTER", "SETSLOT", slot, "NODE", target)


async def test_keys_are_followed_to_where_they_are_moved(prefix: str) -> None:
    with own_cluster() as cluster:
        async with open_engine(hasty(cluster.url, cluster=True)) as engine:
            first = engine.do("SET", f"{prefix}key", "1")
            assert await first == b"OK"
            owner = cluster.owner(f"{prefix}key")
            number = cluster.nodes.index(owner)
            slot = int(owner.do("CLUSTER", "KEYSLOT", f"{prefix}key"))
            other = cluster.nodes[(number + 1) % 3]
            # On its way: what the old one does not have any more is at the other.
            other.do("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.do("CLUSTER", "MYID"))
            owner.do("CLUSTER", "SETSLOT", slot, "MIGRATING", other.do("CLUSTER", "MYID"))
            assert await engine.do("GET", f"{prefix}key") == b"1"
            owner.do("MIGRATE", other.host, other.port, f"{prefix}key", 0, 5000)
            with soon():
                asked = [engine.do("INCR", f"{prefix}key", again=False) for _ in range(5)]
                assert [await op for op in asked] == [2, 3, 4, 5, 6]
                await move_slot(cluster, slot, (number + 1) % 3)
                asked = [engine.do("INCR", f"{prefix}key", again=False) for _ in range(5)]
                assert sorted([await op for op in asked]) == [7, 8, 9, 10, 11]
                assert await engine.do("GET", f"{prefix}key") == b"11"


async def test_a_node_that_goes_and_comes_back(prefix: str) -> None:
    with own_cluster() as cluster:
        async with open_engine(hasty(cluster.url, cluster=True)) as engine:
            keys = [f"{prefix}{number}" for number in range(12)]
            gone = cluster.owner(keys[0])
            others = [key for key in keys if cluster.owner(key) is not gone]
            gone.kill()
            with soon():
                refused = await outcome(engine.do("SET", keys[0], "1"))
                assert isinstance(refused, StoreError)
                # A cluster without all of its slots may refuse the others too, later.
                assert others
                gone.start()
                await anyio.to_thread.run_sync(cluster.until_ok)
                for key in keys:
                    assert await set_at_last(engine, key) == b"OK"


async def set_at_last(engine: Engine, key: str) -> object:
    return await until_done(lambda: engine.do("SET", key, "1"))
