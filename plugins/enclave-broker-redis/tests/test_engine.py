"""Operations go out together, in order, and each has its own answer."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from enclave_broker_redis.engine import open_engine
from engines import Inline, config, hasty, outcome
from pydantic import ValidationError
from redis_servers.cluster import Cluster
from redis_servers.encrypted import own_tls_server
from redis_servers.endpoint import Endpoint
from redis_servers.secured import ADMIN_PASSWORD, PASSWORD, USER, own_guarded
from redis_servers.server import Server
from redis_servers.watched import Watched

from enclave_broker_core.errors import StoreError

pytestmark = pytest.mark.anyio


def reads(server: Server) -> int:
    """How often the server has read from its connections."""
    with server.client() as client:
        return int(client.info("stats")["total_reads_processed"])


async def test_what_is_asked_for_in_one_turn_goes_out_together(fragile: Server) -> None:
    async with open_engine(config(fragile.url)) as engine:
        await engine.do("SET", "key", "")
        before = reads(fragile)
        asked = [engine.do("APPEND", "key", f"{number},") for number in range(200)]
        assert [await op for op in asked][-1] == len("".join(f"{n}," for n in range(200)))
        # The connection that asks how many reads there were is one or two itself.
        assert reads(fragile) - before < 10
        assert await engine.do("GET", "key") == b"".join(b"%d," % n for n in range(200))


async def test_an_error_is_that_of_one_operation(server: Endpoint, prefix: str) -> None:
    async with open_engine(config(server.url)) as engine:
        text, number = f"{prefix}text", f"{prefix}number"
        asked = [
            engine.do("SET", text, "x"),
            engine.do("INCR", text),
            engine.do("INCR", number),
            engine.run(Inline("return redis.call('INCR', KEYS[1])"), [text], []),
            engine.run(Inline("return redis.nonsense()"), [text], []),
            engine.do("INCR", number),
        ]
        answers = [await outcome(op) for op in asked]
        assert [type(answer) for answer in answers] == [
            bytes,
            StoreError,
            int,
            StoreError,
            StoreError,
            int,
        ]
        assert (answers[2], answers[5]) == (1, 2)
        assert "not an integer" in str(answers[1])
        assert "not an integer" in str(answers[3])
        assert "nonsense" in str(answers[4])


async def test_a_script_that_the_server_has_forgotten_is_sent_again(fragile: Server) -> None:
    async with open_engine(config(fragile.url)) as engine:
        add = Inline("return redis.call('INCR', KEYS[1])")
        for number in range(3):
            fragile.do("SCRIPT", "FLUSH")
            asked = [engine.run(add, [f"{number}:{n}"], []) for n in range(20)]
            assert [await op for op in asked] == [1] * 20
        assert fragile.do("DBSIZE") == 60


async def test_who_is_cancelled_does_not_take_an_operation_back(
    server: Endpoint, prefix: str
) -> None:
    key = f"{prefix}key"
    async with open_engine(config(server.url)) as engine:
        finished: list[bool] = []

        async def add() -> None:
            op = engine.do("INCR", key)
            try:
                await op.finished()
            finally:
                finished.append(op.done)

        for number in range(1, 11):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(add)
                await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            assert server.do("GET", key) == str(number)
            # One that asyncio alone cancels, several times.
            task = asyncio.create_task(add())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            server.do("DECR", key)
        assert finished == [True] * 20


async def test_what_is_left_at_the_end_fails(fragile: Server) -> None:
    async with open_engine(config(fragile.url)) as engine:
        fragile.pause()
        op = engine.do("GET", "key")
        await anyio.lowlevel.checkpoint()
    with pytest.raises(StoreError, match="closed"):
        await op
    with pytest.raises(StoreError):
        await engine.do("GET", "key")


async def test_a_server_that_is_not_there_is_told_at_once(fragile: Server) -> None:
    fragile.stop()
    with pytest.raises(StoreError, match=str(fragile.port)) as told:
        async with open_engine(hasty(fragile.url)):
            pass
    assert told.value.retryable


async def test_a_connection_of_ones_own_waits(server: Endpoint, prefix: str) -> None:
    key = f"{prefix}stream"
    async with open_engine(config(server.url)) as engine:
        async with engine.connection(key) as connection, anyio.create_task_group() as tasks:
            found: list[object] = []

            async def read() -> None:
                await connection.send_command("XREAD", "BLOCK", 10_000, "STREAMS", key, "0")
                found.append(await connection.read_response(timeout=10.0))

            tasks.start_soon(read)
            await engine.do("XADD", key, "1-0", "name", "value")
        assert found == [[[key.encode(), [[b"1-0", [b"name", b"value"]]]]]]


# Kinds of servers


async def test_a_cluster_has_each_key_at_its_node(cluster: Cluster, prefix: str) -> None:
    async with open_engine(config(cluster.url, cluster=True)) as engine:
        assert engine.clustered
        keys = [f"{prefix}{number}" for number in range(60)]
        asked = [engine.do("SET", key, key) for key in keys]
        assert [await op for op in asked] == [b"OK"] * 60
        assert [await op for op in [engine.do("GET", key) for key in keys]] == [
            key.encode() for key in keys
        ]
        assert {cluster.owner(key).port for key in keys} == {node.port for node in cluster.nodes}
        for key in keys[:9]:
            assert cluster.owner(key).do("GET", key) == key


async def test_a_cluster_is_found_by_any_of_its_nodes(cluster: Cluster, prefix: str) -> None:
    nodes = [f"127.0.0.1:{node.port}" for node in cluster.nodes]
    settings = config("redis://127.0.0.1:1", cluster=True, nodes=nodes)
    async with open_engine(settings) as engine:
        assert await engine.do("SET", f"{prefix}key", "1") == b"OK"


async def test_a_cluster_that_is_taken_for_one_server_says_so(cluster: Cluster) -> None:
    async with open_engine(config(cluster.url)) as engine:
        answers = [await outcome(engine.do("GET", f"key:{number}")) for number in range(20)]
    refused = [answer for answer in answers if isinstance(answer, StoreError)]
    assert refused
    assert {"cluster = true" in answer.message for answer in refused} == {True}


async def test_one_server_that_is_taken_for_a_cluster_says_so(server: Endpoint) -> None:
    with pytest.raises(StoreError, match="cluster support disabled"):
        async with open_engine(config(server.url, cluster=True)):
            pass


async def test_the_sentinels_know_the_primary(watched: Watched) -> None:
    sentinels = [f"127.0.0.1:{sentinel.port}" for sentinel in watched.sentinels]
    sentinel = {"servers": sentinels, "service": watched.name}
    async with open_engine(config("redis://x", sentinel=sentinel)) as engine:
        assert await engine.do("SET", "key", "1") == b"OK"
        assert watched.primary.do("GET", "key") == "1"
        before = watched.primary
        before.kill()
        # It goes on at the new one, as soon as there is one.
        assert await engine.do("SET", "other", "2") == b"OK"
        assert watched.primary is not before
        assert watched.primary.do("GET", "other") == "2"


async def test_a_primary_that_is_none_any_more_is_left(watched: Watched) -> None:
    sentinels = [f"127.0.0.1:{sentinel.port}" for sentinel in watched.sentinels]
    sentinel = {"servers": sentinels, "service": watched.name}
    async with open_engine(config("redis://x", sentinel=sentinel)) as engine:
        before = watched.primary
        await engine.do("SET", "key", "1")
        # It takes ten seconds until the sentinels tell it, so it is told here.
        new = watched.fail_over()
        before.do("REPLICAOF", new.host, new.port)
        op = engine.run(Inline("return redis.call('SET', KEYS[1], '2')"), ["key"], [])
        assert await op == b"OK"
        assert new.do("GET", "key") == "2"


async def test_tls_trusts_only_the_authority(prefix: str) -> None:
    with own_tls_server() as server:
        tls = {"ca_file": server.tls["ssl_ca_certs"]}
        async with open_engine(config(server.url, tls=tls)) as engine:
            assert await engine.do("SET", "key", "1") == b"OK"
        with pytest.raises(StoreError, match="CERTIFICATE"):
            async with open_engine(hasty(server.url)):
                pass


async def test_a_user_with_few_rights_is_enough() -> None:
    rules = "~enclave:* +eval +evalsha +incr +exists"
    with own_guarded(rules) as guarded:
        async with open_engine(config(guarded.user.url)) as engine:
            script = Inline("return redis.call('INCR', KEYS[1])")
            assert await engine.run(script, ["enclave:key"], []) == 1
            with pytest.raises(StoreError, match=r"(?i)permission"):
                await engine.do("SET", "enclave:key", "1")
            with pytest.raises(StoreError, match=r"(?i)permission"):
                await engine.run(script, ["other"], [])


async def test_a_password_is_never_shown() -> None:
    with own_guarded("~* +@all") as guarded:
        url = f"redis://127.0.0.1:{guarded.admin.port}"
        who = {"username": USER, "password": PASSWORD}
        async with open_engine(config(url, **who)) as engine:
            assert await engine.do("SET", "key", "1") == b"OK"
        for settings in (
            config(f"redis://{USER}:{PASSWORD}x@127.0.0.1:{guarded.admin.port}"),
            config(url, username=USER, password=f"{PASSWORD}x"),
            config(url),
        ):
            with pytest.raises(StoreError) as told:
                async with open_engine(settings):
                    pass
            for text in (str(told.value), repr(told.value), repr(settings), str(settings)):
                assert PASSWORD not in text
                assert ADMIN_PASSWORD not in text
        with pytest.raises(ValidationError) as refused:
            config(f"http://{USER}:{PASSWORD}@127.0.0.1:1")
        assert PASSWORD not in str(refused.value)
