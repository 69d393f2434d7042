"""Limits, quotas and bounds that several brokers keep together, and what a call costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from enclave_broker_redis.config import RedisConfig
from redis_brokers.together import Trips, replicas

from enclave_broker_core import (
    BrokerError,
    MaxToolCallsError,
    Principal,
    RateLimitedError,
    RateLimiter,
    SessionSettings,
    TooManySessionsError,
)

pytestmark = pytest.mark.anyio

# Longer than any test: nobody is taken for dead because the machine is busy.
LEASE = 60.0


@pytest.fixture(params=["server", "cluster"])
def config(request: pytest.FixtureRequest, prefix: str) -> RedisConfig:
    kind: str = request.param
    url = request.getfixturevalue(kind).url
    return RedisConfig(url=url, cluster=kind == "cluster", prefix=prefix, lease=LEASE)


async def add(a: int, b: int) -> int:
    return a + b


async def outcomes(*calls: Callable[[], Any]) -> Counter[str]:
    """What comes of calls that are made all at once: "ok", or the error's class."""
    found: Counter[str] = Counter()

    async def one(call: Callable[[], Any]) -> None:
        try:
            await call()
        except BrokerError as error:
            found[type(error).__name__] += 1
        else:
            found["ok"] += 1

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(one, call)
    return found


async def test_windows_are_exact_across_brokers(config: RedisConfig) -> None:
    limiter = RateLimiter(
        global_={"max_calls": 25, "window": 1000},
        per_principal={"max_calls": 10, "window": 1000},
        per_session={"max_calls": 8, "window": 1000},
    )
    ann, bob, eve = (Principal(id=name) for name in ("ann", "bob", "eve"))
    async with replicas(config, 3, tools={"add": add}, limiter=limiter) as three:
        calls: dict[str, list[Callable[[], Any]]] = {}
        for number, one in enumerate(three):
            for principal in (ann, bob, eve):
                session = await one.broker.create_session(principal=principal)
                asked = await three[(number + 1) % 3].broker.get_session(session.id)
                calls.setdefault(principal.id, []).extend(
                    [lambda asked=asked: asked.call("add", {"a": 1, "b": 1})] * 6
                )
        assert await outcomes(*calls["ann"]) == {"ok": 10, "RateLimitedError": 8}
        assert await outcomes(*calls["bob"]) == {"ok": 10, "RateLimitedError": 8}
        # What was refused has taken nothing from anybody: so much is left of all.
        assert await outcomes(*calls["eve"]) == {"ok": 5, "RateLimitedError": 13}
        with pytest.raises(RateLimitedError) as refused:
            await calls["eve"][0]()
        assert refused.value.scope == "global"
        assert 900 < (refused.value.retry_after or 0) <= 1000


async def test_a_sessions_quota_is_its_own_wherever_it_is_asked(config: RedisConfig) -> None:
    async with replicas(config, 3, tools={"add": add}) as three:
        session = await three[0].broker.create_session(max_tool_calls=10)
        handles = [await one.broker.get_session(session.id) for one in three]
        calls = [lambda one=one: one.call("add", {"a": 1, "b": 1}) for one in handles * 8]
        assert await outcomes(*calls) == {"ok": 10, MaxToolCallsError.__name__: 14}


async def test_so_many_sessions_and_no_more(config: RedisConfig) -> None:
    settings = SessionSettings(max_concurrent=7, max_per_principal=3)
    ann = Principal(id="ann")
    async with replicas(config, 3, sessions=settings) as three:
        made: list[Any] = []

        async def make(number: int, principal: Principal | None) -> None:
            made.append(await three[number % 3].broker.create_session(principal=principal))

        mine = [lambda number=number: make(number, ann) for number in range(9)]
        assert await outcomes(*mine) == {"ok": 3, "TooManySessionsError": 6}
        anyones = [lambda number=number: make(number, None) for number in range(9)]
        assert await outcomes(*anyones) == {"ok": 4, "TooManySessionsError": 5}
        # One that ends somewhere makes room for one anywhere.
        await made[0].cancel()
        for one in (three[1], three[2]):
            if one is three[1]:
                made.append(await one.broker.create_session(principal=ann, timeout=50))
            with pytest.raises(TooManySessionsError) as refused:
                await one.broker.create_session(principal=ann)
            assert 0 < (refused.value.retry_after or 0) <= 50


@pytest.mark.parametrize("limited", [True, False])
async def test_a_call_costs_few_round_trips(config: RedisConfig, limited: bool) -> None:
    rate = {"max_calls": 1000, "window": 1000}
    limiter = RateLimiter(global_=rate, per_session=rate, per_principal=rate)
    options = {"limiter": limiter} if limited else {}
    async with replicas(config, 1, tools={"add": add}, **options) as [one]:
        session = await one.broker.create_session(principal=Principal(id="ann"))
        await session.call("add", {"a": 1, "b": 1})  # now every script is known
        with Trips(one.store.engine) as trips:
            for _ in range(20):
                await session.call("add", {"a": 1, "b": 1})
        expected = 60 if limited and config.cluster else 40
        assert trips.made == expected
        if not config.cluster:
            assert trips.ops == expected
