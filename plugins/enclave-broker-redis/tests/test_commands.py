"""Commands from one replica to another while something fails: none is begun twice, none is
left without an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import to_thread
from enclave_broker_redis import commands
from enclave_broker_redis.config import RedisConfig
from enclave_broker_redis.store import RedisStore, open_store
from engines import at_port, config, hasty
from redis_servers.endpoint import Endpoint
from redis_servers.server import Server
from tcp_proxy import ProxyThread

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import SessionLostError
from enclave_broker_core.models import SessionRecord
from enclave_broker_core.testing.replica_suite import lasting

pytestmark = pytest.mark.anyio

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def _looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "LOOK", 0.3)


class Holder:
    """Begins commands, and does not answer ``slow`` ones before ``go``."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.cancelled: list[bytes] = []
        self.go = anyio.Event()

    def lost(self, session_id: str) -> None:
        pass

    async def take_up(self, record: SessionRecord) -> None:
        pass

    def command(self, session_id: str, body: bytes) -> Awaitable[bytes]:
        self.begun.append(body)
        return self._done(body)

    async def _done(self, body: bytes) -> bytes:
        try:
            if body == b"slow":
                await self.go.wait()
        except BaseException:
            self.cancelled.append(body)
            raise
        return body


@asynccontextmanager
async def two(
    settings: RedisConfig, others: RedisConfig
) -> AsyncIterator[tuple[RedisStore, Holder, RedisStore]]:
    """A store that is served by the holder, and another one that asks."""
    async with (
        open_store(settings, OpenContext("store")) as here,
        open_store(others, OpenContext("store")) as there,
        anyio.create_task_group() as tasks,
    ):
        holder = Holder()
        tasks.start_soon(here.serve, holder)
        tasks.start_soon(there.serve, Holder())
        await anyio.wait_all_tasks_blocked()
        yield here, holder, there
        tasks.cancel_scope.cancel()


async def until(condition: Callable[[], Any]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def test_what_was_answered_in_a_failure_is_not_begun_again(
    fragile: Server, network: ProxyThread
) -> None:
    """The holder can say neither that it is done with a command nor what came of it."""
    mine = hasty(at_port(network.port), lease=60.0)
    async with two(mine, config(fragile.url, lease=60.0)) as (here, holder, there):
        await here.create(lasting())
        problems: list[Exception] = []

        async def ask() -> None:
            try:
                await there.ask("s_1", b"slow")
            except SessionLostError as problem:
                problems.append(problem)

        asked = here.serving.commands
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await until(lambda: holder.begun)
            await to_thread.run_sync(network.refuse)
            await to_thread.run_sync(network.cut)
            holder.go.set()
            # A word of the next one came just before, and it can't be read.
            asked.look("s_1")
            with anyio.fail_after(PATIENCE):
                while (await failing(here)) is None:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            await until(lambda: "s_1" in asked._unsure)
            await to_thread.run_sync(network.resume)
            with anyio.fail_after(PATIENCE):
                assert await there.ask("s_1", b"next") == b"next"
        assert len(problems) == 1
        assert holder.begun == [b"slow", b"next"]
        with anyio.fail_after(PATIENCE):
            while await there.engine.do("HLEN", there.keys.of("s_1", "qc")):  # noqa: ASYNC110
                await anyio.sleep(0.05)


async def failing(store: RedisStore) -> Exception | None:
    try:
        await store.check()
    except Exception as problem:
        return problem
    return None


async def test_withdrawn_before_it_was_heard_of(server: Endpoint, prefix: str) -> None:
    """The word of it has another way than the command, and may be faster."""
    settings = config(server.url, prefix=prefix)
    async with two(settings, settings) as (here, holder, there):
        await here.create(lasting())
        here.serving.commands.heard({b"x": b"s_1", b"n": b"1"})
        with anyio.fail_after(PATIENCE):
            with pytest.raises(SessionLostError):
                await there.ask("s_1", b"slow")
            assert holder.cancelled == holder.begun == [b"slow"]
            assert await there.ask("s_1", b"next") == b"next"


async def test_taken_in_a_failure_and_begun_under_another_token(
    server: Endpoint, prefix: str
) -> None:
    settings = config(server.url, prefix=prefix)
    async with two(settings, settings) as (here, holder, there):
        await here.create(lasting())
        asked = here.serving.commands
        look, looked = asked.look, anyio.Event()
        asked.look = lambda session_id: looked.set()  # type: ignore[method-assign]
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await there.ask("s_1", b"one"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            with anyio.fail_after(PATIENCE):
                await looked.wait()
                token = here.writing.token("s_1")
                assert token is not None
                # Its answer is lost.
                await here.engine.run(commands.FETCH, asked._names("s_1"), [token, 0])
                asked._unsure.add("s_1")
                await here.writing._held["s_1"]._recover()
                assert here.writing.token("s_1") != token
                asked.look = look  # type: ignore[method-assign]
                look("s_1")
                await until(lambda: answers)
        assert (holder.begun, answers) == ([b"one"], [b"one"])


async def test_what_a_former_holder_had_in_hand_is_not_waited_for(
    server: Endpoint, prefix: str
) -> None:
    settings = config(server.url, prefix=prefix)
    async with two(settings, settings) as (here, holder, there):
        await here.create(lasting())
        asked = here.serving.commands
        looked = anyio.Event()
        asked.look = lambda session_id: looked.set()  # type: ignore[method-assign]
        errors: list[Exception] = []

        async def ask() -> None:
            try:
                await there.ask("s_1", b"one")
            except SessionLostError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            with anyio.fail_after(PATIENCE):
                await looked.wait()
                await here.engine.do("HSET", here.keys.of("s_1", "qb"), 1, "gone.1")
                await until(lambda: errors)
        assert holder.begun == []
