"""How long an event takes from the broker that writes it to a follower at another.

Fifty sessions run at one broker, each followed at the other, and take turns: each writes an
event, and the time is taken until its follower has it. To hold: in the median at most ten round
trips of PING, measured in the same process between the events.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import redis.asyncio as redis
from enclave_broker_redis.config import RedisConfig
from enclave_broker_redis.store import open_store
from interleaved import Figures, Measured
from redis_servers_here import TASKS, servers

from enclave_broker_core import Broker, Session, ToolContext
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.session_handle import SessionHandle

TITLE = "an event from one broker to a follower at another over Redis, 50 sessions running"
BARS = {"event to a follower": 10.0}
NEEDS = ("redis",)
BACKENDS = ("asyncio",)
ROUNDS = 4


class Follower:
    """Notes when the latest log event of its session came."""

    def __init__(self, session: SessionHandle) -> None:
        self._session = session
        self.came = anyio.Event()
        self.at = 0.0

    async def follow(self) -> None:
        async for event in self._session.events():
            if event.type == "log":
                self.at = time.perf_counter()
                self.came.set()


async def say(ctx: ToolContext) -> None:
    await ctx.log("info", "now")


async def round_of(
    sessions: list[Session], followers: list[Follower], client: redis.Redis
) -> tuple[list[float], list[float]]:
    """The times of events and of PINGs, in turns."""
    events, pings = [], []
    for session, follower in zip(sessions, followers, strict=True):
        started = time.perf_counter()
        await client.ping()
        pings.append(time.perf_counter() - started)
        follower.came = anyio.Event()
        started = time.perf_counter()
        await session.emit(("log", b'{"level":"info","message":"now"}'))
        await follower.came.wait()
        events.append(follower.at - started)
    return events, pings


@asynccontextmanager
async def two_brokers(url: str) -> AsyncIterator[tuple[Broker, Broker]]:
    config = RedisConfig.model_validate({"url": url, "timeout": 10.0})
    async with (
        open_store(config, OpenContext("store")) as one,
        open_store(config, OpenContext("store")) as other,
        Broker(store=one, tools={"say": say}) as here,
        Broker(store=other, tools={"say": say}) as there,
    ):
        yield here, there


async def measured(repetitions: int, short: bool) -> Measured:
    own_server, _ = servers()
    events: list[Figures] = []
    pings: list[Figures] = []
    with own_server() as server:
        async with (
            two_brokers(server.url) as (here, there),
            redis.Redis.from_url(server.url) as client,
            anyio.create_task_group() as tasks,
        ):
            sessions = [await here.create_session() for _ in range(3 if short else TASKS)]
            followers = [Follower(await there.get_session(session.id)) for session in sessions]
            for follower in followers:
                tasks.start_soon(follower.follow)
            await round_of(sessions, followers, client)
            for _ in range(repetitions):
                took: tuple[list[float], list[float]] = ([], [])
                for _ in range(1 if short else ROUNDS):
                    found = await round_of(sessions, followers, client)
                    took[0].extend(found[0])
                    took[1].extend(found[1])
                events.append(_micro(took[0]))
                pings.append(_micro(took[1]))
            tasks.cancel_scope.cancel()
    medians = {
        "PING": Figures.of([one.median for one in pings]),
        "event to a follower": Figures.of([one.median for one in events]),
    }
    ratios = [event.median / ping.median for event, ping in zip(events, pings, strict=True)]
    return Measured("PING", medians, {"event to a follower": Figures.of(ratios)})


def _micro(seconds: list[float]) -> Figures:
    return Figures.of([value * 1e6 for value in seconds])
