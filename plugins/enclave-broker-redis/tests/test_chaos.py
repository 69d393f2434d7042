"""Brokers that are killed in the middle of everything, and what holds all the same."""

from __future__ import annotations

import os
import random
import time
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from enclave_broker_redis.config import RedisConfig
from enclave_broker_redis.store import open_store
from redis_brokers.judged import Judge, WindowLog, ran
from redis_brokers.load import Load
from redis_brokers.processes import BrokerProcess, broker_processes
from redis_brokers.settings import configuration, tools
from redis_servers.endpoint import until
from redis_servers.server import Server

from enclave_broker_core.contracts import OpenContext

pytestmark = pytest.mark.anyio

PREFIX = "chaos"
LEASE = 1.0
CLIENTS = 12
PATIENCE = 20.0
LIMITS = """
[limits]
timeout = 4.0
[rate_limit]
global = { max_calls = 60, window = 1.0 }
per_session = { max_calls = 5, window = 1.0 }
per_tool = { once = { max_calls = 30, window = 0.5 } }
"""
# Longer than what has ended is kept.
LATER = 1000.0


async def killed(brokers: list[BrokerProcess], rng: random.Random, kills: int) -> None:
    """Kill one after the other, at random, and start each again."""

    def serving(count: int) -> bool:
        return sum(one.serves for one in brokers) >= count

    async def start(broker: BrokerProcess, pause: float) -> None:
        await anyio.sleep(pause)
        await to_thread.run_sync(broker.start)

    async with anyio.create_task_group() as tasks:
        for _ in range(kills):
            await anyio.sleep(rng.uniform(0.1, 1.0))
            # Now and then none is left.
            left = rng.choice([1, 2, 2, 2])
            await to_thread.run_sync(until, partial(serving, left), f"{left} brokers")
            broker = rng.choice([one for one in brokers if one.serves])
            await to_thread.run_sync(broker.kill)
            tasks.start_soon(start, broker, rng.uniform(0.0, 1.0))


async def watched(logs: list[WindowLog]) -> None:
    while True:
        for log in logs:
            await to_thread.run_sync(log.look)
        await anyio.sleep(0.02)


# The two hundred kills of a long run are five times forty: no test may take many minutes.
ROUNDS = [10, *(pytest.param(40, marks=pytest.mark.soak) for _ in range(5))]


@pytest.mark.parametrize("kills", ROUNDS)
async def test_brokers_are_killed_again_and_again(
    fragile: Server, tmp_path: Path, kills: int
) -> None:
    seed = int(os.environ.get("ENCLAVE_TEST_SEED") or time.time_ns() % 2**32)
    print(f"ENCLAVE_TEST_SEED={seed}")
    file = tmp_path / "ran"
    config = configuration(fragile.url, PREFIX, LEASE, LIMITS)
    with (
        broker_processes(tmp_path, config, tools(str(file)), 3) as brokers,
        fragile.client() as client,
    ):
        windows = [WindowLog(client, f"{PREFIX}:w:{key}") for key in ("global", "tool:once")]
        judge = Judge(client, PREFIX)
        load = Load([broker.url for broker in brokers], random.Random(seed))
        async with anyio.create_task_group() as watching:
            watching.start_soon(watched, windows)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(load.run, CLIENTS)
                await killed(brokers, random.Random(seed), kills)
                load.stop()
            watching.cancel_scope.cancel()
        until_then = time.monotonic() + PATIENCE
        while (left := judge.left()) and time.monotonic() < until_then:  # noqa: ASYNC110
            await anyio.sleep(0.1)
        assert left == []
        for broker in brokers:
            broker.stop()
        everything = ran(file)
        assert judge.sessions(load.sessions) == []
        assert [one for one, count in everything.items() if count > 1 and one[0] == "once"] == []
        assert [wrong for window in windows for wrong in window.exceeded()] == []
        # And they have seen all that ran.
        assert len(windows[0].entries) >= everything.total()
        assert len(windows[1].entries) >= sum(
            count for (name, _, _), count in everything.items() if name == "once"
        )
        answers = [answer for seen in load.sessions for answer in seen.calls.values()]
        heard = len(answers) - answers.count(None)
        print(load.answers, judge.ends(load.sessions), f"{heard} of {len(answers)} calls heard of")
        print(f"{everything.total()} ran, {sum(n > 1 for n in everything.values())} again")
        config_of_mine = RedisConfig(url=fragile.url, prefix=PREFIX)
        async with open_store(config_of_mine, OpenContext("store")) as store:
            await store.sweep(time.time() + LATER)
        assert judge.left_for_ever() == [f"{PREFIX}:{{{PREFIX}}}:{one}" for one in ("gone", "n")]
