"""Brokers while their servers fail: clear errors, and all works again without a restart of them."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from anyio import to_thread
from enclave_broker_redis.config import RedisConfig
from engines import at_port
from redis_brokers.together import replicas
from redis_brokers.traffic import Traffic, echo, wrong_in
from redis_servers.cluster import own_cluster
from redis_servers.endpoint import until
from redis_servers.secured import own_guarded
from redis_servers.server import Server
from redis_servers.watched import Watched
from tcp_proxy import ProxyThread

from enclave_broker_core import (
    BrokerError,
    PluginError,
    RateLimiter,
    SessionNotFoundError,
    SessionSettings,
    StoreError,
    use,
)

pytestmark = pytest.mark.anyio

TOOLS = {"echo": echo}
HASTY = {"timeout": 0.5, "retry_for": 0.5, "lease": 1.0}


def config(url: str, **settings: Any) -> RedisConfig:
    return RedisConfig.model_validate({"url": url} | HASTY | settings)


async def done(act: Any, *given: Any) -> Any:
    return await to_thread.run_sync(act, *given)


async def test_a_server_that_comes_back_with_an_empty_memory(fragile: Server) -> None:
    settings = SessionSettings(max_concurrent=50)
    async with replicas(config(fragile.url), 2, tools=TOOLS, sessions=settings) as two:
        traffic = Traffic(two)
        async with traffic.flowing():
            await traffic.until_done()
            await done(fragile.kill)
            await traffic.until_failed(4)
            await done(fragile.start)
            for session in traffic.sessions:
                with anyio.fail_after(30):
                    await session.ended.wait()
        assert {one.broker.stats().open_sessions for one in two} == {0}
        for session in traffic.sessions:
            with pytest.raises(SessionNotFoundError):
                await two[0].broker.get_session(session.id)
        stored = [error for error in traffic.errors if isinstance(error, StoreError)]
        assert stored
        assert all(error.retry_after for error in stored)
        known = {"STORE_UNAVAILABLE", "SESSION_LOST", "SESSION_NOT_FOUND", "SESSION_ENDED"}
        assert set(traffic.codes()) <= known
        await traffic.works_again()


async def test_a_server_that_halts_and_goes_on(fragile: Server) -> None:
    async with replicas(config(fragile.url, lease=60.0), 2, tools=TOOLS) as two:
        traffic = Traffic(two)
        async with traffic.flowing():
            await traffic.until_done()
            for _ in range(2):
                await done(fragile.pause)
                await traffic.until_failed(4)
                await done(fragile.resume)
                await traffic.until_done()
        logs = await traffic.logs()
        assert len(logs) == 2
        assert [wrong for log in logs.values() for wrong in wrong_in(log)] == []
        assert all(error.code == "STORE_UNAVAILABLE" for error in traffic.errors)
        await traffic.works_again()


async def test_a_server_that_is_slow_is_waited_for(fragile: Server, network: ProxyThread) -> None:
    patient = config(at_port(network.port), timeout=10.0, retry_for=10.0, lease=60.0)
    async with replicas(patient, 2, tools=TOOLS) as two:
        traffic = Traffic(two)
        async with traffic.flowing():
            await traffic.until_done()
            await done(network.delay, 0.05)
            await traffic.until_done(8)
            await done(network.resume)
            await done(fragile.do, "EVAL", "for n = 1, 1e8 do end", 0)
            await traffic.until_done()
        assert traffic.errors == []
        logs = await traffic.logs()
        assert [wrong for log in logs.values() for wrong in wrong_in(log)] == []


async def test_connections_that_are_cut_and_some_that_are_lost(network: ProxyThread) -> None:
    async with replicas(config(at_port(network.port), lease=60.0), 2, tools=TOOLS) as two:
        traffic = Traffic(two)
        async with traffic.flowing():
            for _ in range(5):
                await traffic.until_done(7)
                await done(network.cut)
            for _ in range(2):
                await traffic.until_done(7)
                await done(network.half_open)
                await traffic.until_failed()
                await done(network.resume)
                await done(network.cut)
            await traffic.until_done()
        logs = await traffic.logs()
        assert len(logs) == 2
        assert [wrong for log in logs.values() for wrong in wrong_in(log)] == []
        assert set(traffic.codes()) <= {"STORE_UNAVAILABLE"}
        await traffic.works_again()


async def test_a_memory_that_is_full(fragile: Server) -> None:
    async with replicas(config(fragile.url), 2, tools=TOOLS) as two:
        traffic = Traffic(two)
        async with traffic.flowing():
            await traffic.until_done()
            await done(fragile.do, "CONFIG", "SET", "maxmemory", "1")
            await traffic.until_failed(4)
            with pytest.raises(StoreError, match="OOM") as refused:
                await two[0].broker.create_session()
            assert refused.value.retry_after
            # What is there can be read.
            [first, *_] = await two[1].store.read(traffic.sessions[0].id)
            assert first.type == "session_init"
            await done(fragile.do, "CONFIG", "SET", "maxmemory", "0")
            await traffic.until_done()
        logs = await traffic.logs()
        assert [wrong for log in logs.values() for wrong in wrong_in(log)] == []
        await traffic.works_again()


async def test_a_user_who_may_less_for_a_while() -> None:
    with own_guarded("~* &* +@all") as guarded:
        async with replicas(config(guarded.user.url, lease=60.0), 2, tools=TOOLS) as two:
            traffic = Traffic(two)
            async with traffic.flowing():
                await traffic.until_done()
                await done(guarded.allow, "-evalsha")
                await traffic.until_failed(4)
                assert "NOPERM" in traffic.errors[-1].message
                await done(guarded.allow, "+evalsha")
                await traffic.until_done()
            assert set(traffic.codes()) == {"STORE_UNAVAILABLE"}
            logs = await traffic.logs()
            assert len(logs) == 2
            assert [wrong for log in logs.values() for wrong in wrong_in(log)] == []


async def test_a_primary_that_is_followed_by_another(watched: Watched) -> None:
    sentinel = {
        "servers": [f"{one.host}:{one.port}" for one in watched.sentinels],
        "service": watched.name,
    }
    patient = config("redis://", sentinel=sentinel, retry_for=20.0, timeout=2.0, lease=60.0)
    async with replicas(patient, 2, tools=TOOLS) as two:
        traffic = Traffic(two)
        async with traffic.flowing():
            await traffic.until_done()
            first, second = watched.primary, watched.replica
            await done(first.kill)
            await done(watched.until_primary, second)
            await traffic.until_done()
        # What is handed to another broker is never sent twice.
        assert set(traffic.codes()) <= {"STORE_UNAVAILABLE"}
        logs = await traffic.logs()
        assert len(logs) == 2
        assert [wrong for log in logs.values() for wrong in wrong_in(log)] == []
        await traffic.works_again()


@pytest.mark.soak
async def test_a_primary_that_is_replaced_and_does_not_know_it(watched: Watched) -> None:
    """For some ten seconds it takes what is lost when it becomes a replica."""
    sentinel = {
        "servers": [f"{one.host}:{one.port}" for one in watched.sentinels],
        "service": watched.name,
    }
    patient = config("redis://", sentinel=sentinel, retry_for=20.0, timeout=2.0, lease=60.0)
    async with replicas(patient, 2, tools=TOOLS) as two:
        traffic = Traffic(two)
        async with traffic.flowing():
            await traffic.until_done()
            first = watched.primary
            await done(watched.fail_over)
            await done(until, lambda: first.do("ROLE")[0] == "slave", "the old primary's word")
            await traffic.until_done()
        assert set(traffic.codes()) <= {"STORE_UNAVAILABLE"}
        logs = await traffic.logs()
        assert len(logs) == 2
        assert [wrong for log in logs.values() for wrong in wrong_in(log)] == []
        await traffic.works_again()


@pytest.mark.parametrize("on_error", ["deny", "allow"])
async def test_a_limiter_whose_server_has_gone(
    fragile: Server, server: Any, prefix: str, on_error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backend = use("redis", url=fragile.url, timeout=0.3, retry_for=0.3)
    limiter = RateLimiter(
        global_={"max_calls": 3, "window": 1000}, backend=backend, on_error=on_error
    )
    store = config(server.url, prefix=prefix, lease=60.0)
    async with replicas(store, 1, tools=TOOLS, limiter=limiter) as [one]:
        session = await one.broker.create_session()
        await session.call("echo", {"n": 1})
        await done(fragile.kill)
        with caplog.at_level(logging.WARNING):
            for n in range(3):
                if on_error == "allow":
                    assert await session.call("echo", {"n": n}) == n
                else:
                    with pytest.raises(PluginError, match="the limiter failed"):
                        await session.call("echo", {"n": n})
        said = [line.getMessage() for line in caplog.records if "limiter failed" in line.message]
        assert len(said) == 3
        await done(fragile.start)
        with anyio.fail_after(30):
            while await outcome(session) != "RATE_LIMITED":
                pass


async def outcome(session: Any) -> str:
    try:
        await session.call("echo", {"n": 1})
    except BrokerError as error:
        return error.code
    return "ok"


async def test_a_node_that_has_the_windows_has_gone(caplog: pytest.LogCaptureFixture) -> None:
    rate = {"max_calls": 100, "window": 1000}
    limiters = [
        RateLimiter(global_=rate, on_error="deny"),
        RateLimiter(global_=rate, on_error="allow"),
    ]
    with own_cluster() as cluster:
        settings = config(cluster.url, cluster=True, prefix="p", lease=60.0)
        away = cluster.owner("p:w:global")
        async with (
            replicas(settings, 1, tools=TOOLS, limiter=limiters[0]) as [denies],
            replicas(settings, 1, tools=TOOLS, limiter=limiters[1]) as [allows],
        ):
            sessions = []
            for one in (denies, allows):
                session = await one.broker.create_session()
                while cluster.owner(f"p:{{{session.id}}}:s") is away:
                    session = await one.broker.create_session()
                await session.call("echo", {"n": 1})
                sessions.append(session)
            await done(away.kill)
            with caplog.at_level(logging.WARNING):
                with pytest.raises(PluginError, match="the limiter failed"):
                    await sessions[0].call("echo", {"n": 5})
                assert await sessions[1].call("echo", {"n": 5}) == 5
            said = [line.levelname for line in caplog.records if "limiter failed" in line.message]
            assert said == ["ERROR", "WARNING"]
            await done(away.start)
            await done(cluster.until_ok)
            for one, session in zip((denies, allows), sessions, strict=True):
                with anyio.fail_after(30):
                    while await outcome(session) != "ok":
                        pass
                events = await one.store.read(session.id)
                log = [(event.seq, event.type, event.payload) for event in events]
                assert wrong_in(log) == []
