"""Brokers that share a server are one: what is asked of any of them happens, and happens once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from enclave_broker_redis.config import RedisConfig
from redis_brokers.together import replicas

from enclave_broker_core import (
    CallNotFoundError,
    ClientTool,
    Principal,
    SessionEndedError,
    SessionNotFoundError,
    SessionSettings,
    SessionState,
    ToolContext,
    ToolError,
    use,
)
from enclave_broker_core.mailbox import ToolCallMessage
from enclave_broker_core.remote_session import RemoteSession

pytestmark = pytest.mark.anyio

PICK = ClientTool(
    name="client:pick",
    description="Pick one.",
    input_schema={"type": "object", "properties": {"of": {"type": "integer"}}},
)
# Longer than any test: nobody is taken for dead because the machine is busy.
LEASE = 60.0


@pytest.fixture(params=["server", "cluster"])
def config(request: pytest.FixtureRequest, prefix: str) -> RedisConfig:
    kind: str = request.param
    url = request.getfixturevalue(kind).url
    return RedisConfig(url=url, cluster=kind == "cluster", prefix=prefix, lease=LEASE)


async def add(a: int, b: int) -> int:
    return a + b


async def fail() -> None:
    raise ValueError("no luck")


async def types(session: Any) -> list[str]:
    return [event.type async for event in session.events()]


async def test_a_call_is_made_where_the_session_runs(config: RedisConfig) -> None:
    async with replicas(config, 3, tools={"add": add, "fail": fail}) as (here, there, third):
        session = await here.broker.create_session()
        for one in (here, there, third):
            remote = await one.broker.get_session(session.id)
            assert isinstance(remote, RemoteSession) is (one is not here)
            assert await remote.call("add", {"a": 1, "b": 2}) == 3
            with pytest.raises(ToolError, match="no luck"):
                await remote.call("fail")
        assert [one.broker.stats().calls for one in (here, there, third)] == [6, 0, 0]
        history = await (await third.broker.get_session(session.id)).history()
        assert [call.tool for call in history] == ["add", "fail"] * 3
        assert (await there.broker.get_session(session.id)).info().tool_calls == 6


async def test_an_attempt_has_the_id_of_the_events(config: RedisConfig) -> None:
    async with replicas(config, 2, tools={"add": add}) as (here, there):
        remote = await there.broker.get_session((await here.broker.create_session()).id)
        made = await remote.attempt(ToolCallMessage(name="add", args={"a": 1, "b": 1}))
        [record] = await remote.history()
        assert (made.id, made.data, made.error) == (record.call_id, 2, None)
        mine = await remote.attempt(ToolCallMessage(id="mine", name="fail"))
        assert (mine.id, mine.error and mine.error.code) == ("mine", "UNKNOWN_TOOL")


async def test_a_client_answers_at_a_third_one(config: RedisConfig) -> None:
    async with replicas(config, 3) as (here, there, third):
        session = await here.broker.create_session(client_tools=[PICK])
        calling = await there.broker.get_session(session.id)
        client = await third.broker.get_session(session.id)
        results: list[Any] = []

        async def call() -> None:
            results.append(await calling.call("client:pick", {"of": 3}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            async for event in client.events():
                if event.type == "tool_call":
                    await client.answer(event.payload["callId"], result=7)
                    break
        assert results == [7]
        with pytest.raises(CallNotFoundError):
            await client.answer("c_none", result=1)


async def test_code_runs_where_its_state_is(config: RedisConfig) -> None:
    runtime = use("monty", workers=1)
    async with replicas(config, 2, tools={"add": add}, runtime=runtime) as (here, there):
        session = await here.broker.create_session()
        remote = await there.broker.get_session(session.id)
        assert (await remote.run("x = 4\nprint('one')\nx")).result == 4
        assert (await session.run("x + 1")).result == 5
        failed = await remote.run("1 / 0")
        assert (failed.ok, failed.error and failed.error.code) == (False, "RUNTIME_ERROR")
        run_id = await remote.begin("x = await call_tool('add', {'a': x, 'b': 2})\nx")
        async for event in remote.events():
            if event.type == "partial_result" and event.payload["path"] == ["run", run_id]:
                assert event.payload["data"] == 6
                break
        last = await remote.execute("x * 2")
        assert (last.ok, last.result, last.stats.tool_calls) == (True, 12, 0)
        assert session.state is SessionState.COMPLETED
        assert (await types(remote)).count("final") == 1


async def test_messages_are_taken_there_in_their_order(config: RedisConfig) -> None:
    got: list[int] = []
    done = anyio.Event()

    def take(message: Any) -> None:
        got.append(message["n"])
        if len(got) == 60:
            done.set()

    async with replicas(config, 2) as (here, there):
        session = await here.broker.create_session()
        session.on("count", take)
        remote = await there.broker.get_session(session.id)
        for n in range(10):
            await remote.deliver({"type": "count", "n": n})
        async with anyio.create_task_group() as tasks:
            for n in range(10, 60):
                tasks.start_soon(remote.deliver, {"type": "count", "n": n})
        with anyio.fail_after(20):
            await done.wait()
        assert got == list(range(60))


async def test_cancelled_from_elsewhere(config: RedisConfig) -> None:
    async with replicas(config, 2) as (here, there):
        session = await here.broker.create_session()
        remote = await there.broker.get_session(session.id)
        await remote.cancel("enough")
        assert session.state is SessionState.CANCELLED
        late = await there.broker.get_session(session.id)
        assert (late.has_ended, late.state) == (True, SessionState.CANCELLED)
        assert await types(late) == ["session_init", "final"]
        with pytest.raises(SessionEndedError):
            await remote.call("add")
        await remote.cancel()  # it has ended, so there is nothing to do


async def test_destroyed_from_elsewhere(config: RedisConfig) -> None:
    async with replicas(config, 2) as (here, there):
        session = await here.broker.create_session()
        assert await there.broker.destroy_session(session.id)
        assert session.state is SessionState.CANCELLED
        for one in (here, there):
            with pytest.raises(SessionNotFoundError):
                await one.broker.get_session(session.id)
        assert not await there.broker.destroy_session(session.id)
        again = await there.broker.create_session(session_id=session.id)
        assert await types_until(again, 1) == ["session_init"]


async def types_until(session: Any, count: int) -> list[str]:
    found: list[str] = []
    async for event in session.events():
        found.append(event.type)
        if len(found) == count:
            break
    return found


async def test_who_stops_asking_stops_the_call(config: RedisConfig) -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def wait() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with replicas(config, 2, tools={"wait": wait}) as (here, there):
        session = await here.broker.create_session()
        remote = await there.broker.get_session(session.id)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(remote.call, "wait")
            await begun.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(20):
            await ended.wait()
            async for event in remote.events():
                if event.type == "tool_result_applied":
                    break
        [record] = await remote.history()
        assert (record.outcome, record.error_code) == ("cancelled", "CANCELLED")


async def test_under_one_key_it_is_done_once_by_all(config: RedisConfig) -> None:
    async with replicas(config, 3) as three:
        session = await three[0].broker.create_session()
        acted: list[int] = []
        answers: list[tuple[bytes, bool]] = []

        async def act() -> tuple[bytes, bool]:
            acted.append(1)
            await anyio.sleep(0.05)
            return b"made", True

        async def ask(number: int) -> None:
            handle = await three[number % 3].broker.get_session(session.id)
            answers.append(await handle.claims().once("key", b"body", act, seconds=60))

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(ask, number)
        assert len(acted) == 1
        assert Counter(answers) == {(b"made", True): 11, (b"made", False): 1}


async def test_whose_sessions_there_are_is_known_everywhere(config: RedisConfig) -> None:
    ann, bob = Principal(id="ann", tenant="north"), Principal(id="bob", tenant="north")
    other_ann = Principal(id="ann", tenant="south")
    root = Principal(id="root", roles=frozenset({"admin"}))
    settings = SessionSettings(admin_roles=frozenset({"admin"}))
    async with replicas(config, 3, sessions=settings) as three:
        made: dict[str, list[str]] = {"ann": [], "bob": [], "south": []}
        for one in three:
            for name, principal in (("ann", ann), ("bob", bob), ("south", other_ann)):
                made[name].append((await one.broker.create_session(principal=principal)).id)
        everything = [made[name][number] for number in range(3) for name in made]
        for one in three:

            async def listed(broker: Any = one.broker, **wanted: Any) -> Sequence[str]:
                return [record.id for record in await broker.list_sessions(**wanted)]

            assert await listed(principal=ann) == made["ann"]
            assert await listed(principal=other_ann) == made["south"]
            assert await listed(principal=root) == everything
            assert await listed(principal=ann, limit=2) == made["ann"][:2]
            assert await listed(principal=ann, after=made["ann"][1]) == made["ann"][2:]
            with pytest.raises(SessionNotFoundError):
                await one.broker.get_session(made["bob"][0], principal=ann)
            assert not await one.broker.destroy_session(made["bob"][1], principal=other_ann)
        await (await three[2].broker.get_session(made["ann"][0])).cancel()
        left = await three[1].broker.list_sessions(principal=ann)
        assert [record.id for record in left] == made["ann"][1:]


async def test_events_come_to_followers_everywhere_and_are_stored_first(
    config: RedisConfig,
) -> None:
    async def work(ctx: ToolContext) -> int:
        for _ in range(5):
            await ctx.progress("processing")
            await ctx.partial({"some": "thing"})
        inner: int = await ctx.call("add", {"a": 1, "b": 1})
        return inner

    async with replicas(config, 3, tools={"work": work, "add": add}) as three:
        session = await three[0].broker.create_session()
        logs: list[list[tuple[int, str]]] = [[], [], [], []]

        async def follow(number: int, log: list[tuple[int, str]]) -> None:
            handle = await three[number].broker.get_session(session.id)
            other = three[(number + 1) % 3].store
            async for event in handle.events():
                [stored] = await other.read(session.id, event.seq, limit=1)
                assert (stored.type, stored.payload_json) == (event.type, event.payload_json)
                log.append((event.seq, event.type))

        async with anyio.create_task_group() as tasks:
            for number, log in zip((0, 1, 2, 2), logs, strict=True):
                tasks.start_soon(follow, number, log)
            remote = await three[1].broker.get_session(session.id)
            for _ in range(3):
                assert await remote.call("work") == 2
            await session.complete()
        assert logs[0] == logs[1] == logs[2] == logs[3]
        assert [seq for seq, _ in logs[0]] == list(range(1, len(logs[0]) + 1))
        assert logs[0][0] == (1, "session_init")
        assert [type for _, type in logs[0]].count("final") == 1
        assert Counter(type for _, type in logs[0])["tool_progress"] == 15


async def test_a_follower_is_told_and_does_not_look(
    config: RedisConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enclave_broker_redis.following.LOOK", 1000.0)
    async with replicas(config, 2, tools={"add": add}) as (here, there):
        session = await here.broker.create_session()
        remote = await there.broker.get_session(session.id)
        seen, follow = anyio.create_memory_object_stream[str](100)

        async def send() -> None:
            async for event in remote.events():
                await seen.send(event.type)

        async with follow, seen, anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            with anyio.fail_after(20):
                assert await follow.receive() == "session_init"
                for _ in range(5):
                    while not there.store.wakeups.waits_for(session.id):
                        await anyio.lowlevel.checkpoint()
                    await session.call("add", {"a": 1, "b": 1})
                    assert await follow.receive() == "tool_call"
                    assert await follow.receive() == "tool_result_applied"
                await session.complete()
                assert await follow.receive() == "final"
