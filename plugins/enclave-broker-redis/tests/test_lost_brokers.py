"""A broker that says nothing more: others end or go on with what it ran, and it does no more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from enclave_broker_redis.config import RedisConfig
from redis_brokers.together import Replica, replicas
from redis_servers.endpoint import Endpoint

from enclave_broker_core import (
    BrokerError,
    SessionEndedError,
    SessionLostError,
    SessionNotFoundError,
    SessionSettings,
    SessionState,
    ToolContext,
    TooManySessionsError,
    use,
)

pytestmark = pytest.mark.anyio

LEASE = 1.0
# A loaded machine may take much longer than two leases.
PATIENCE = 30.0


@pytest.fixture
def config(server: Endpoint, prefix: str) -> RedisConfig:
    return RedisConfig(url=server.url, prefix=prefix, lease=LEASE)


@pytest.fixture(params=["server", "cluster"])
def either(request: pytest.FixtureRequest, prefix: str) -> RedisConfig:
    kind: str = request.param
    url = request.getfixturevalue(kind).url
    return RedisConfig(url=url, cluster=kind == "cluster", prefix=prefix, lease=LEASE)


class Waiting:
    """A tool that waits until it is stopped, and says meanwhile that it is at work."""

    def __init__(self) -> None:
        self.begun, self.stopped = anyio.Event(), anyio.Event()

    async def __call__(self, ctx: ToolContext) -> None:
        self.begun.set()
        try:
            while True:
                await anyio.sleep(0.05)
                await ctx.progress("processing")
        finally:
            self.stopped.set()


@asynccontextmanager
async def told(coming: Any) -> AsyncIterator[list[BaseException]]:
    """The errors of what goes on during the block; its end waits for it."""
    errors: list[BaseException] = []

    async def go() -> None:
        try:
            await coming
        except BrokerError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go)
        yield errors


async def log_of(one: Replica, session_id: str) -> list[tuple[int, str]]:
    handle = await one.broker.get_session(session_id)
    return [(event.seq, event.type) async for event in handle.events()]


async def test_its_sessions_end_as_lost_once_for_all(either: RedisConfig) -> None:
    wait = Waiting()
    async with replicas(either, 3, tools={"wait": wait.__call__}) as (here, there, third):
        session = await here.broker.create_session()
        asked = await there.broker.get_session(session.id)
        logs: list[list[tuple[int, str]]] = []

        async def follow(one: Replica) -> None:
            logs.append(await log_of(one, session.id))

        with anyio.fail_after(PATIENCE):
            async with told(asked.call("wait")) as errors, anyio.create_task_group() as tasks:
                tasks.start_soon(follow, there)
                tasks.start_soon(follow, third)
                await wait.begun.wait()
                here.silence()
            # The asker hears that nobody knows whether it was done.
            assert [type(error) for error in errors] == [SessionLostError]
            # It was only silent: it finds out by what it writes, before it looks at its lease.
            await wait.stopped.wait()
            await session.ended.wait()
            here.silence(silent=False)
        assert logs[0] == logs[1]
        assert [seq for seq, _ in logs[0]] == list(range(1, len(logs[0]) + 1))
        kinds = [type for _, type in logs[0]]
        assert (kinds.count("final"), kinds[-1]) == (1, "final")
        assert await log_of(third, session.id) == logs[0]
        record = (await third.broker.get_session(session.id)).info()
        assert (record.state, session.state) == (SessionState.FAILED, SessionState.FAILED)
        last = (await third.store.read(session.id, len(logs[0])))[0]
        assert last.payload["error"]["code"] == "SESSION_LOST"


async def test_one_that_was_only_slow_is_a_broker_again(config: RedisConfig) -> None:
    settings = SessionSettings(max_concurrent=1)
    wait = Waiting()
    async with replicas(config, 2, tools={"wait": wait.__call__}, sessions=settings) as two:
        here, there = two
        session = await here.broker.create_session()
        with anyio.fail_after(PATIENCE):
            async with told(session.call("wait")) as errors:
                await wait.begun.wait()
                here.silence()
                log = await log_of(there, session.id)
                here.silence(silent=False)
                await wait.stopped.wait()
            # Which of them depends on who writes first: the tool, or the record of its call.
            assert isinstance(errors[0], SessionLostError | SessionEndedError)
            await session.ended.wait()
        assert here.broker.stats().open_sessions == 0
        with pytest.raises(SessionLostError):
            await session.call("wait")
        assert await log_of(here, session.id) == log
        # Its place is free, here too as soon as this one has a lease again.
        again = await created(here)
        with pytest.raises(TooManySessionsError):
            await there.broker.create_session()
        remote = await there.broker.get_session(again.id)
        await remote.cancel()
        assert again.state is SessionState.CANCELLED


async def created(one: Replica) -> Any:
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                return await one.broker.create_session()
            except BrokerError as error:
                if not error.retryable:
                    raise
                await anyio.sleep(0.05)


async def test_nobody_is_dead_because_nobody_could_be_heard(config: RedisConfig) -> None:
    """As after a server's failure: all leases are over, and one broker is heard first."""
    lease = 2.0
    async with replicas(config.model_copy(update={"lease": lease}), 3, tools={}) as three:
        sessions = [await one.broker.create_session() for one in three]
        for one in three:
            one.silence()
        with anyio.fail_after(PATIENCE):
            while any([await one.lives() for one in three]):  # noqa: ASYNC110
                await anyio.sleep(0.05)
            three[0].silence(silent=False)
            while not await three[0].lives():  # noqa: ASYNC110
                await anyio.sleep(0.05)
            # Long enough for it to look at the leases of the others.
            await anyio.sleep(lease / 3 + 0.1)
            for one in three:
                one.silence(silent=False)
            while not all([await one.lives() for one in three]):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert [session.state for session in sessions] == [SessionState.RUNNING] * 3
        # Only now and then: it does see when one has gone.
        three[1].silence()
        assert (await log_of(three[0], sessions[1].id))[-1] == (2, "final")


async def test_what_was_asked_of_nobody_is_answered(config: RedisConfig) -> None:
    """Also what nobody has begun yet when the holder goes."""
    async with replicas(config, 2) as (here, there):
        session = await here.broker.create_session()
        remote = await there.broker.get_session(session.id)
        with anyio.fail_after(PATIENCE):
            here.silence()
            here.store.serving.commands.look = lambda session_id: None  # type: ignore[method-assign]
            with pytest.raises(BrokerError) as refused:
                await remote.deliver({"type": "hello"})
        assert refused.value.code in ("SESSION_ENDED", "SESSION_LOST")
        assert (await log_of(there, session.id))[-1] == (2, "final")


async def test_a_broker_that_closes_ends_what_it_runs(config: RedisConfig) -> None:
    async with replicas(config, 1) as [there]:
        async with replicas(config, 1) as [here]:
            session = await here.broker.create_session()
            followed = (await there.broker.get_session(session.id)).events()
            assert (await anext(followed)).type == "session_init"
        with anyio.fail_after(PATIENCE):
            final = await anext(followed)
        assert (final.type, final.payload["error"]["code"]) == ("final", "SESSION_CANCELLED")
        record = (await there.broker.get_session(session.id)).info()
        assert record.state is SessionState.CANCELLED


async def test_code_goes_on_elsewhere_when_it_is_durable(either: RedisConfig) -> None:
    begun: list[int] = []
    in_second, again, gate = anyio.Event(), anyio.Event(), anyio.Event()

    async def step(n: int) -> int:
        begun.append(n)
        if n == 2:
            (again if in_second.is_set() else in_second).set()
            await gate.wait()
        return n * 10

    settings = SessionSettings(durable_key="k" * 32)
    options = {"runtime": use("monty", workers=1), "sessions": settings}
    code = (
        "found = []\nfor n in range(4):\n    found.append(await call_tool('step', {'n': n}))\nfound"
    )
    async with replicas(either, 2, **options) as (here, there):
        for one in (here, there):
            one.broker.tool("step", idempotent=True)(step)
        session = await here.broker.create_session(durable=True)
        await session.begin(code, last=True)
        with anyio.fail_after(PATIENCE):
            await in_second.wait()
            here.silence()
            await again.wait()
            gate.set()
            handle = await there.broker.get_session(session.id)
            events = [event async for event in handle.events()]
        assert events[-1].payload["result"] == [0, 10, 20, 30]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [event.type for event in events].count("final") == 1
        assert begun == [0, 1, 2, 2, 3]


async def test_an_id_is_free_again_when_its_session_was_deleted_elsewhere(
    config: RedisConfig,
) -> None:
    async with replicas(config, 2) as (here, there):
        session = await here.broker.create_session()
        here.silence()
        with anyio.fail_after(PATIENCE):
            await log_of(there, session.id)
            assert await there.broker.destroy_session(session.id)
            with pytest.raises(SessionNotFoundError):
                await there.broker.get_session(session.id)
            await there.broker.create_session(session_id=session.id)
            here.silence(silent=False)
            await session.ended.wait()
        # The one of that name is another now, and is not ended by who held the first.
        assert (await here.broker.get_session(session.id)).state is SessionState.RUNNING
