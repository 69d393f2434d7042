"""Connections that break, wherever they do: the client's log is the server's all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest
from cut_proxy import After, Cut, Deaf, Proxy
from enclave_broker_client import (
    Client,
    ConflictError,
    ConnectionLostError,
    SyncClient,
)
from server_thread import QUICK, Server
from wire_schema import log_problems

from enclave_broker_core import SessionExistsError, SessionNotFoundError
from enclave_broker_core.events import Event

pytestmark = pytest.mark.anyio

CODE = """
import asyncio

print("begin")
for number in range(2):
    print(await call_tool("test:echo", {"value": [number, "äöü"]}))
await asyncio.gather(call_tool("test:echo", {"value": 1}), call_tool("test:echo", {"value": 2}))
try:
    await call_tool("test:fail", {})
except ToolError as error:
    print(error)
{"all": "of it"}
"""


@pytest.fixture(scope="module")
def log(server: Server) -> list[Event]:
    """The events of a session that has ended."""
    with SyncClient(server.url, settings=QUICK) as client:
        assert client.run(CODE, session_id="s_fixed").unwrap() == {"all": "of it"}
    found = server.log("s_fixed")
    assert log_problems([event.to_json() for event in found]) == []
    assert len(found) >= 15
    return found


@pytest.fixture
def own(request: pytest.FixtureRequest) -> str:
    """A name that no other test has."""
    return re.sub(r"[^a-zA-Z0-9]", "_", request.node.name)[-60:]


def cuts(count: int) -> Iterator[Cut]:
    """At each boundary of a log; and in each line behind its first byte, in its middle, and
    before its end."""
    for events in range(count):
        for part in (0.0, 0.001, 0.5, 1.0):
            yield Cut(events, part)
    yield Cut(count)


def same(received: Sequence[Event], log: Sequence[Event]) -> None:
    assert [event.to_json() for event in received] == [event.to_json() for event in log]


async def test_a_replay_is_cut_everywhere(server: Server, proxy: Proxy, log: list[Event]) -> None:
    async with Client(proxy.url, settings=QUICK) as client:
        for cut in cuts(len(log)):
            proxy.plan.append(cut)
            async with client.existing("s_fixed").events() as events:
                same([event async for event in events], log)
            # Where all events have come there is nothing to come back for.
            assert len(proxy.requests) == (1 if cut.events == len(log) else 2)
            if len(proxy.requests) == 2:
                assert f"stream?from={cut.events + 1} " in proxy.requests[1]
            assert not proxy.plan
            proxy.requests.clear()


def test_a_replay_is_cut_everywhere_without_a_loop(
    server: Server, proxy: Proxy, log: list[Event]
) -> None:
    with SyncClient(proxy.url, settings=QUICK) as client:
        for cut in cuts(len(log)):
            proxy.plan.append(cut)
            with client.existing("s_fixed").events() as events:
                same(list(events), log)
            assert not proxy.plan


@pytest.mark.parametrize("part", [0.0, 0.5])
async def test_every_connection_is_cut(
    server: Server, proxy: Proxy, log: list[Event], part: float
) -> None:
    # More often than attempts in a row are allowed: each of these brought something.
    assert len(log) > QUICK.attempts
    proxy.plan.extend([Cut(1, part)] * (len(log) - 1))
    async with (
        Client(proxy.url, settings=QUICK) as client,
        client.existing("s_fixed").events() as events,
    ):
        same([event async for event in events], log)
    assert not proxy.plan


async def test_a_run_is_cut_everywhere_while_it_runs(
    server: Server, proxy: Proxy, log: list[Event]
) -> None:
    async with Client(proxy.url, settings=QUICK) as client:
        for cut in cuts(len(log)):
            proxy.plan.append(cut)
            async with client.stream(CODE) as events:
                received = [event async for event in events]
            same(received, server.log(events.session_id))
            assert events.outcome.unwrap() == {"all": "of it"}
            posts = [line for line in proxy.requests if line.startswith("POST")]
            assert len(posts) == 1
            assert not proxy.plan
            proxy.requests.clear()


async def test_an_answer_is_cut_in_its_head(server: Server, proxy: Proxy) -> None:
    async with Client(proxy.url, settings=QUICK) as client:
        for size in (0, 1, 12, 60, 200):
            proxy.plan.append(After(size))
            async with client.stream(CODE) as events:
                received = [event async for event in events]
            same(received, server.log(events.session_id))
            assert not proxy.plan


async def test_a_stream_goes_on_where_it_is_wanted_from(
    server: Server, proxy: Proxy, log: list[Event]
) -> None:
    proxy.plan.append(Cut(2, 0.5))
    async with (
        Client(proxy.url, settings=QUICK) as client,
        client.existing("s_fixed").events(5) as events,
    ):
        assert events.last_seq == 4
        same([event async for event in events], log[4:])
        assert events.last_seq == len(log)


async def test_a_filtered_stream_is_cut(server: Server, proxy: Proxy, log: list[Event]) -> None:
    wanted = [event for event in log if event.type in ("stdout", "final")]
    only = {
        "mode": "include",
        "rules": [{"types": {"types": ["stdout"]}}],
        "alwaysAllow": ["final"],
    }
    async with Client(proxy.url, settings=QUICK) as client:
        for cut in cuts(len(wanted)):
            proxy.plan.append(cut)
            async with client.existing("s_fixed").events(filter=only) as events:
                same([event async for event in events], wanted)


async def test_a_server_that_stays_away_is_given_up(proxy: Proxy, log: list[Event]) -> None:
    proxy.plan.extend([Cut(3), *[Deaf()] * QUICK.attempts])
    seen = []
    async with (
        Client(proxy.url, settings=QUICK) as client,
        client.existing("s_fixed").events() as events,
    ):
        with pytest.raises(ConnectionLostError):
            while True:
                seen.append(await anext(events))
    same(seen, log[:3])
    # The cut one is the first failure of those in a row.
    assert len(proxy.requests) == QUICK.attempts


async def test_a_session_that_was_forgotten_meanwhile(
    server: Server, proxy: Proxy, own: str
) -> None:
    proxy.plan.append(Cut(2))
    async with (
        Client(server.url) as direct,
        Client(proxy.url, settings=QUICK) as client,
        client.stream(CODE, session_id=f"s_{own}") as events,
    ):
        assert (await anext(events)).seq == 1
        server.log(f"s_{own}")
        await direct.existing(f"s_{own}").delete()
        assert (await anext(events)).seq == 2
        with pytest.raises(SessionNotFoundError):
            await anext(events)


# Requests whose answers are lost


async def test_a_run_that_was_not_heard_is_sent_again(
    server: Server, proxy: Proxy, own: str
) -> None:
    proxy.plan.extend([Deaf(), Deaf()])
    async with Client(proxy.url, settings=QUICK) as client:
        outcome = await client.run(f'await call_tool("test:count", {{"name": "{own}"}})')
    assert outcome.unwrap() == 1
    # Is it there? Nobody knows, and then: no. So it is sent again, over the same connection.
    assert [line.partition(" ")[0] for line in proxy.requests] == ["POST", "GET", "GET"]


async def test_a_run_that_was_heard_is_not_run_again(
    server: Server, proxy: Proxy, own: str
) -> None:
    proxy.plan.extend([After(0)])
    async with Client(proxy.url, settings=QUICK) as client:
        outcome = await client.run(f'await call_tool("test:count", {{"name": "{own}"}})')
    assert outcome.unwrap() == 1
    assert server.seen[own] == 1
    assert [line.partition(" ")[0] for line in proxy.requests] == ["POST", "GET"]


async def test_a_session_whose_answer_was_lost_is_ones_own(
    server: Server, proxy: Proxy, own: str
) -> None:
    proxy.plan.extend([After(0)])
    async with (
        Client(proxy.url, settings=QUICK) as client,
        client.session(session_id=f"s_{own}") as session,
    ):
        assert await session.call("test:echo", {"value": 1}) == 1
        assert (await session.info()).session_id == f"s_{own}"


async def test_a_session_that_was_there_before_is_not(
    server: Server, proxy: Proxy, own: str
) -> None:
    async with (
        Client(proxy.url, settings=QUICK) as client,
        client.session(session_id=f"s_{own}"),
    ):
        with pytest.raises(SessionExistsError):
            async with client.session(session_id=f"s_{own}"):
                pass
        with pytest.raises(SessionExistsError):
            await client.run("1", session_id=f"s_{own}")


@pytest.mark.parametrize("broken", [Deaf(), After(0), After(20)])
async def test_a_call_is_sent_again_and_made_once(
    server: Server, proxy: Proxy, broken: Deaf | After, own: str
) -> None:
    async with (
        Client(server.url) as direct,
        direct.session() as session,
        Client(proxy.url, settings=QUICK) as client,
    ):
        proxy.plan.extend([broken, broken])
        calls = client.existing(session.id)
        assert await calls.call("test:count", {"name": own}) == 1
        assert server.seen[own] == 1
        # The key is the call's own: the next one is another call.
        assert await calls.call("test:count", {"name": own}) == 2


async def test_a_call_that_must_not_be_repeated_is_not(
    server: Server, proxy: Proxy, own: str
) -> None:
    async with (
        Client(server.url) as direct,
        direct.session() as session,
        Client(proxy.url, settings=QUICK) as client,
    ):
        proxy.plan.append(After(0))
        with pytest.raises(ConnectionLostError) as caught:
            await client.existing(session.id).call("test:count", {"name": own}, repeat=False)
        assert caught.value.sent
        assert server.seen[own] == 1


async def test_an_idempotency_key_for_another_call(server: Server, own: str) -> None:
    async with Client(server.url, settings=QUICK) as client, client.session() as session:
        args = {"name": own}
        assert await session.call("test:count", args, idempotency_key="k") == 1
        assert await session.call("test:count", args, idempotency_key="k") == 1
        with pytest.raises(ConflictError):
            await session.call("test:count", {"name": "other"}, idempotency_key="k")


async def test_a_run_in_a_session_is_cut_everywhere(server: Server, proxy: Proxy) -> None:
    code = 'print("one")\nawait call_tool("test:echo", {"value": 1})'
    kinds = ["stdout", "tool_call", "tool_result_applied", "partial_result"]
    async with (
        Client(server.url) as direct,
        direct.session() as session,
        Client(proxy.url, settings=QUICK) as client,
    ):
        runs = client.existing(session.id)
        for number, cut in enumerate(cuts(len(kinds)), 1):
            proxy.plan.append(cut)
            async with runs.execute(code) as events:
                assert [event.type async for event in events] == kinds
            assert events.outcome.unwrap() == 1
            assert events.outcome.run_id == f"run_{number}"
            assert events.outcome.stats.tool_calls == 1


async def test_a_run_in_a_session_is_not_sent_again(server: Server, proxy: Proxy) -> None:
    async with (
        Client(server.url) as direct,
        direct.session() as session,
        Client(proxy.url, settings=QUICK) as client,
    ):
        proxy.plan.append(After(0))
        with pytest.raises(ConnectionLostError):
            await client.existing(session.id).run("1")
        assert len([line for line in proxy.requests if "execute" in line]) == 1
